import { sleep } from "@berth/service-kit";
import type { ProcessLook } from "./kinship.ts";
import type { ProcessDeps } from "./process-deps.ts";

/** Who remembers processes of a look. */
interface Rememberer {
  remember(look: ProcessLook): Promise<void>;
}

/**
 * Shows all instances the processes of this machine every now and then, so that one that leaves its session, its parent
 * and its environment stays known. Ends when the runtime is stopped; never rejects.
 */
export async function keepKinInMind(
  instances: () => Iterable<Rememberer>,
  { table, rules, logger, stopped }: ProcessDeps,
): Promise<void> {
  let isTold = false;
  while (!stopped.aborted) {
    await sleep(rules.lookIntervalMs, stopped);
    const all = [...instances()];
    if (all.length === 0 || stopped.aborted) continue;
    try {
      // Half of the interval: runtimes that share a table look in turn, and each once in an interval.
      const look = await table.recent(rules.lookIntervalMs / 2);
      await Promise.all(all.map((instance) => instance.remember(look)));
      isTold = false;
    } catch (err) {
      if (!isTold) logger.warn("the processes of instances are not remembered", { err });
      isTold = true;
    }
  }
}
