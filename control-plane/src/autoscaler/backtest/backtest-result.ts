import type { KeptQuota } from "../../org/quotas/quota.ts";
import { type ReplicaCounts, ReplicaTally } from "./replica-tally.ts";

/** Where the simulated replicas of a subject are other than the actual ones. JSON as clients read it. */
export interface Difference {
  /** ISO 8601. */
  readonly at: string;
  readonly subject_id: string;
  /** What the workflow wanted before; null when it wanted nothing. */
  readonly wanted: number | null;
  readonly simulated: number;
  readonly actual: number;
  /** What was decided in the simulation at the evaluation before. */
  readonly why: string;
}

/** What became of one subject. JSON as clients read it. */
export interface SubjectResult extends ReplicaCounts {
  readonly subject_id: string;
  readonly actual: ReplicaCounts;
  readonly first_difference: Omit<Difference, "subject_id" | "wanted"> | null;
}

/** What was last decided about a subject. */
export interface LastWord {
  readonly wanted: number | null;
  readonly why: string;
}

interface Tallies {
  readonly simulated: ReplicaTally;
  readonly actual: ReplicaTally;
  first: Difference | undefined;
}

type Quotas = ReadonlyMap<string, readonly KeptQuota[]>;

const MAX_POINTS = 10_000;

/** Compares simulated and actual replicas report after report. */
export class BacktestResult {
  readonly #subjects = new Map<string, Tallies>();
  readonly #points: Difference[] = [];
  #more = 0;

  /** Both at the moment of a report; `wordOf`: the last word about a subject before it. */
  note(
    atMs: number,
    { actual, simulated }: { readonly actual: Quotas; readonly simulated: Quotas },
    wordOf: (subjectId: string) => LastWord,
  ): void {
    for (const [subjectId, own] of actual) {
      const tallies = this.#subjects.getOrInsertComputed(subjectId, newTallies);
      const there = replicasOf(own);
      const here = replicasOf(simulated.get(subjectId) ?? []);
      tallies.actual.note({ atMs, replicas: there });
      tallies.simulated.note({ atMs, replicas: here });
      if (here === there) continue;
      const at = new Date(atMs).toISOString();
      const { wanted, why } = wordOf(subjectId);
      const point = { at, subject_id: subjectId, wanted, simulated: here, actual: there, why };
      tallies.first ??= point;
      if (this.#points.length < MAX_POINTS) this.#points.push(point);
      else this.#more += 1;
    }
  }

  /** All subjects that had a quota, in the order in which they were met. */
  get subjects(): readonly SubjectResult[] {
    return [...this.#subjects].map(([subjectId, { simulated, actual, first }]) => ({
      ...{ subject_id: subjectId, ...simulated.counts, actual: actual.counts },
      first_difference: first === undefined ? null : shortOf(first),
    }));
  }

  /** Differences, at most 10,000, and how many there were beside. */
  get points(): { readonly points: readonly Difference[]; readonly more: number } {
    return { points: this.#points, more: this.#more };
  }
}

function newTallies(): Tallies {
  return { simulated: new ReplicaTally(), actual: new ReplicaTally(), first: undefined };
}

function shortOf({ at, actual, simulated, why }: Difference): SubjectResult["first_difference"] {
  return { at, actual, simulated, why };
}

function replicasOf(quotas: readonly KeptQuota[]): number {
  return quotas.reduce((sum, { quota }) => sum + quota.replicas, 0);
}
