import { createHash } from "node:crypto";
import type { Clock } from "@berth/service-kit";
import { revisionBase } from "./revision.ts";
import { Wakeup } from "./wakeup.ts";

/** The newest value of one key of the agent's state. */
export interface StateEntry {
  /** "cluster". */
  readonly key: string;
  readonly revision: bigint;
  readonly json: string;
  /** When the value changed, on the monotonic clock, ms. */
  readonly changedAtMs: number;
}

/**
 * What the State stream carries: per key the newest value only, so however slow the control-plane is,
 * nothing queues.
 */
export class StateBoard {
  readonly #clock: Clock;
  readonly #entries = new Map<string, StateEntry>();
  readonly #changes = new Wakeup();
  #revision: bigint;

  constructor(agentIncarnation: bigint, clock: Clock) {
    this.#clock = clock;
    this.#revision = revisionBase(agentIncarnation);
  }

  /** Takes a key's value; a new revision is made only when the text differs. */
  set(key: string, json: string): void {
    if (this.#entries.get(key)?.json === json) return;
    this.#revision += 1n;
    const changedAtMs = this.#clock.nowMs();
    this.#entries.set(key, { key, revision: this.#revision, json, changedAtMs });
    this.#changes.wake();
  }

  /** All entries in key order. */
  entries(): StateEntry[] {
    return [...this.#entries.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** Resolves at the next change, or when the signal is aborted. */
  changed(signal: AbortSignal): Promise<void> {
    return this.#changes.wait(signal);
  }
}

/** SHA-256 in hex over `key TAB revision LF` of each entry in key order. */
export function stateDigest(entries: readonly Pick<StateEntry, "key" | "revision">[]): string {
  const hash = createHash("sha256");
  for (const { key, revision } of entries) hash.update(`${key}\t${revision}\n`);
  return hash.digest("hex");
}
