import { abortable } from "../process/changes.ts";

/** What a call of the runtime does, and to what: to an instance, or to a block's root or the whole of a block. */
export interface Job {
  readonly kind: "apply" | "remove";
  readonly blockId: string;
  /** Undefined: the root, when it is applied; the block with all its instances, when it is removed. */
  readonly instanceId: string | undefined;
}

/**
 * Lets calls that contradict each other happen in the order in which they came: what is applied after a removal was asked
 * for is not removed by it, and the other way round. Others do not wait.
 */
export class JobOrder {
  readonly #jobs = new Map<Job, Promise<unknown>>();

  /** Does the work when every earlier job that it contradicts is over; rejects with the signal's reason before that. */
  async run<T>(job: Job, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const earlier = [...this.#jobs].filter(([other]) => isContrary(job, other));
    const before = Promise.allSettled(earlier.map(([, done]) => done));
    const done = abortable(before, signal).then(work);
    this.#jobs.set(job, done);
    try {
      return await done;
    } finally {
      this.#jobs.delete(job);
    }
  }
}

function isContrary(a: Job, b: Job): boolean {
  if (a.blockId !== b.blockId) return false;
  if (a.kind === "remove" && b.kind === "remove") return false;
  return a.instanceId === b.instanceId || isOfWholeBlock(a) || isOfWholeBlock(b);
}

function isOfWholeBlock({ kind, instanceId }: Job): boolean {
  return kind === "remove" && instanceId === undefined;
}
