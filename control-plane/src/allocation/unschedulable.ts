/** Why nothing fits, as the client is told. */
export interface Unschedulable {
  readonly cluster_id: null;
  readonly unschedulable: true;
  readonly reasons: readonly string[];
}

/** Tells that nothing fits: all placements of one result for which the policy gives no reasons share one text. */
export class UnschedulableTexts {
  readonly #none: Unschedulable;

  constructor(candidateCount: number) {
    const clusters = `candidate cluster${candidateCount === 1 ? "" : "s"}`;
    const counted =
      candidateCount === 0
        ? "there is no candidate cluster"
        : `the policy chose none of ${candidateCount} ${clusters}`;
    this.#none = { cluster_id: null, unschedulable: true, reasons: [counted] };
  }

  /** What the policy says, with its `reasons` (or `reason`) as a list of texts, or a common one when it gives none. */
  of(said: Readonly<Record<string, unknown>> | null): object {
    if (said === null || Object.keys(said).length === 0) return this.#none;
    const given = [said.reasons ?? said.reason ?? []].flat().map(reasonText);
    return { ...said, ...this.#none, ...(given.length > 0 ? { reasons: given } : {}) };
  }

  /** One answer for each of so many requests; what a policy says of all of them at once stands in the first. */
  forEach(data: object, count: number): readonly object[] {
    const others = data === this.#none ? data : AS_THE_FIRST;
    return [data, ...Array.from({ length: count - 1 }, () => others)];
  }
}

const AS_THE_FIRST: Unschedulable = {
  cluster_id: null,
  unschedulable: true,
  reasons: ["as for the first request"],
};

/** A policy may give reasons of any shape. */
function reasonText(reason: unknown): string {
  return typeof reason === "string" ? reason : JSON.stringify(reason);
}
