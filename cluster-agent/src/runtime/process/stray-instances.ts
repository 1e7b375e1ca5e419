import { BerthError, backoffMs, sleep } from "@berth/service-kit";
import { endProcesses } from "./end-processes.ts";
import { markedInstances, type ProcessEntry } from "./kinship.ts";
import type { ProcessDeps } from "./process-deps.ts";

/** What runs in our name and has no file: its folder was taken away while no agent ran. */
export class StrayInstances {
  readonly #deps: ProcessDeps;
  readonly #names = new Set<string>();

  constructor(deps: ProcessDeps) {
    this.#deps = deps;
  }

  /** Throws UNAVAILABLE while some are being ended: what they hold is told by nobody. */
  refuseWhileAny(): void {
    if (this.#names.size === 0) return;
    const names = [...this.#names].slice(0, 5).join(", ");
    throw new BerthError("UNAVAILABLE", `processes that no file knows are being ended: ${names}`);
  }

  /** Ends all that `isKnown` does not know; insists until the runtime is stopped. Never rejects. */
  async endAll(
    entries: readonly ProcessEntry[],
    isKnown: (name: string) => boolean,
  ): Promise<void> {
    const names = markedInstances(entries, this.#deps.runtimeId);
    for (const name of names) if (!isKnown(name)) this.#names.add(name);
    await Promise.all([...this.#names].map((name) => this.#insist(name)));
  }

  /** Ends what runs under a name ("block/instance"). */
  async end(instance: string, signal: AbortSignal): Promise<void> {
    const { table, own, runtimeId, rules } = this.#deps;
    const kin = { runtimeId, instance, known: [] };
    await endProcesses({ table, own, kin, graceMs: rules.graceMs, signal });
  }

  /** Names below a block that processes carry now. */
  async namesOf(blockId: string): Promise<string[]> {
    const { table, runtimeId } = this.#deps;
    const names = markedInstances(await table.scan(), runtimeId);
    return names.filter((name) => name.startsWith(`${blockId}/`));
  }

  async #insist(instance: string): Promise<void> {
    const { stopped, logger, rules } = this.#deps;
    logger.warn("an instance that no file knows is ended", { instance });
    for (let failures = 1; !stopped.aborted; failures += 1) {
      try {
        await this.end(instance, stopped);
        this.#names.delete(instance);
        return;
      } catch (err) {
        if (stopped.aborted) return;
        logger.warn("an instance that no file knows is still there", { instance, err });
        await sleep(backoffMs(failures, rules.restart), stopped);
      }
    }
  }
}
