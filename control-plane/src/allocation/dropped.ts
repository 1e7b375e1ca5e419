/** A cluster that the policy could not choose. */
export interface Dropped {
  readonly id: string;
  /** For people: "unreachable", "the filter does not match". */
  readonly reason: string;
}
