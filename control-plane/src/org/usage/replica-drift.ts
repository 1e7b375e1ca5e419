import type { ObservedReplicas, Quota } from "../quotas/quota.ts";

/** Replicas of a quota that are not as many as they should be, for a while. */
export interface ReplicaDrift {
  readonly quotaId: string;
  readonly subjectId: string;
  readonly desired: number;
  readonly observed: number;
  /** How long they have differed, seconds. */
  readonly forSeconds: number;
}

/** What is observed may differ so long before it is told, ms: replicas take their time to start. */
export const DRIFT_AFTER_MS = 60_000;
/** What was observed longer ago says nothing, seconds. */
const OLD_SECONDS = 60;

interface Difference {
  readonly desired: number;
  readonly observed: number;
  readonly sinceMs: number;
  isTold: boolean;
}

/** Finds quotas whose replicas stay other than desired; each difference is told once. Pure state: the time is told. */
export class DriftWatch {
  readonly #afterMs: number;
  #differences = new Map<string, Difference>();

  constructor(afterMs: number = DRIFT_AFTER_MS) {
    this.#afterMs = afterMs;
  }

  /** Looks at all quotas as they are now: gives the differences that are to be told. */
  look(
    all: Iterable<{ readonly quota: Quota; readonly observed: ObservedReplicas | undefined }>,
    nowMs: number,
  ): readonly ReplicaDrift[] {
    const told: ReplicaDrift[] = [];
    const differences = new Map<string, Difference>();
    for (const { quota, observed } of all) {
      const before = this.#differences.get(quota.quotaId);
      const now = differenceOf(quota, observed, { before, nowMs });
      if (now === undefined) continue;
      differences.set(quota.quotaId, now);
      const forMs = nowMs - now.sinceMs;
      if (now.isTold || forMs < this.#afterMs) continue;
      now.isTold = true;
      const { quotaId, subjectId } = quota;
      const counts = { desired: now.desired, observed: now.observed };
      told.push({ quotaId, subjectId, ...counts, forSeconds: Math.round(forMs / 1_000) });
    }
    this.#differences = differences;
    return told;
  }
}

/** What differs of a quota, and since when; of one that nobody has looked at for long what was known before. */
function differenceOf(
  { replicas: desired }: Quota,
  seen: ObservedReplicas | undefined,
  { before, nowMs }: { readonly before: Difference | undefined; readonly nowMs: number },
): Difference | undefined {
  if (seen === undefined) return undefined;
  if (seen.ageSeconds > OLD_SECONDS) return before;
  const { replicas: observed } = seen;
  if (observed === desired) return undefined;
  const isSame = before?.desired === desired && before.observed === observed;
  return isSame ? before : { desired, observed, sinceMs: nowMs, isTold: false };
}
