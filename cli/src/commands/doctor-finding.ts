/** Something that an operator should look at. JSON as printed. */
export interface Finding {
  /** `error`: something does not work, or will not go on by itself. */
  readonly severity: "error" | "warning";
  /** Absent when it is about the control-plane. */
  readonly cluster_id?: string;
  /** "node n1", "operation 4f…". */
  readonly about: string;
  readonly what: string;
  /** What to do, or where to look. */
  readonly next?: string;
}
