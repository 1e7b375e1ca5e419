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

  /** Forgets a key; nothing happens when it is not there. */
  delete(key: string): void {
    if (!this.#entries.delete(key)) return;
    this.#revision += 1n;
    this.#changes.wake();
  }

  /** The newest revision of all: higher than that of anything that was deleted. */
  get revision(): bigint {
    return this.#revision;
  }

  /** Whether a key has a value. */
  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** All entries in no order. */
  all(): Iterable<StateEntry> {
    return this.#entries.values();
  }

  /** All entries in key order. */
  entries(): StateEntry[] {
    return inKeyOrder([...this.#entries.values()]);
  }

  /** Resolves at the next change, or when the signal is aborted. */
  changed(signal: AbortSignal): Promise<void> {
    return this.#changes.wait(signal);
  }
}

/** The entries sorted by their keys. */
export function inKeyOrder<T extends { readonly key: string }>(entries: T[]): T[] {
  return entries.sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** SHA-256 in hex over `key TAB revision LF` of each entry in key order. */
export function stateDigest(entries: readonly Pick<StateEntry, "key" | "revision">[]): string {
  const hash = createHash("sha256");
  for (const { key, revision } of entries) hash.update(`${key}\t${revision}\n`);
  return hash.digest("hex");
}
