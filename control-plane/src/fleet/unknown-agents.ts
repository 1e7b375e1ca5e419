import type { Clock } from "@berth/service-kit";
import { RepeatFilter } from "./repeat-filter.ts";

/** Clusters that are remembered at most: the longest silent ones that are not shown are forgotten first. */
const MAX_REMEMBERED = 1_000;
/** Clusters that are shown and told of at most. */
const MAX_SHOWN = 100;
/** Time for which an agent has to ask before it is told of: a new one asks once, and enrols then. */
const PATIENCE_MS = 2_000;
/** Silence after which one is forgotten: agents ask every 10 s at least. */
const FORGET_MS = 600_000;
/** Time in which the same cluster is told of once. */
const REPEAT_MS = 3_600_000;

/** A cluster that is claimed by an agent whose key is not known. */
export interface UnknownAgent {
  readonly clusterId: string;
  /** When it asked last; ISO 8601. */
  readonly seenAt: string;
}

interface Seen extends UnknownAgent {
  readonly firstAtMs: number;
  readonly lastAtMs: number;
  /** It has gone on asking, and is one of those that are shown. */
  readonly isShown: boolean;
}

/**
 * Agents that ask again and again with a key that is not known, such as all those of a store that was lost. Whoever
 * asks needs no credential, so that what is remembered and told is bounded, however many ids are made up.
 */
export class UnknownAgents {
  readonly #clock: Clock;
  readonly #onUnknown: (clusterId: string) => void;
  readonly #repeats: RepeatFilter;
  /** By cluster id, the one that asked last at the end. */
  readonly #seen = new Map<string, Seen>();
  #shown = 0;

  /** `onUnknown` hears of a cluster once an hour; must not throw. */
  constructor(deps: { readonly clock: Clock; readonly onUnknown: (clusterId: string) => void }) {
    this.#clock = deps.clock;
    this.#onUnknown = deps.onUnknown;
    this.#repeats = new RepeatFilter(REPEAT_MS, deps.clock);
  }

  /** An agent has asked with a key that is not known, and claims a cluster. */
  asked(clusterId: string): void {
    const nowMs = this.#clock.nowMs();
    this.#forgetSilent(nowMs);
    const firstAtMs = this.#seen.get(clusterId)?.firstAtMs ?? nowMs;
    this.known(clusterId);
    this.#makeRoom();
    const isShown = nowMs - firstAtMs >= PATIENCE_MS && this.#shown < MAX_SHOWN;
    if (isShown) this.#shown += 1;
    const seenAt = this.#clock.timestamp();
    this.#seen.set(clusterId, { clusterId, seenAt, firstAtMs, lastAtMs: nowMs, isShown });
    if (isShown && !this.#repeats.isRepeat(clusterId)) this.#onUnknown(clusterId);
  }

  /** The cluster's agent has a key now. */
  known(clusterId: string): void {
    if (this.#seen.get(clusterId)?.isShown === true) this.#shown -= 1;
    this.#seen.delete(clusterId);
  }

  /** Clusters whose agents go on asking, in the order of their ids. */
  list(): readonly UnknownAgent[] {
    this.#forgetSilent(this.#clock.nowMs());
    return [...this.#seen.values()]
      .filter(({ isShown }) => isShown)
      .map(({ clusterId, seenAt }) => ({ clusterId, seenAt }))
      .sort((a, b) => (a.clusterId < b.clusterId ? -1 : 1));
  }

  #forgetSilent(nowMs: number): void {
    for (const [id, { lastAtMs }] of this.#seen) {
      if (nowMs - lastAtMs <= FORGET_MS) return;
      this.known(id);
    }
  }

  #makeRoom(): void {
    if (this.#seen.size < MAX_REMEMBERED) return;
    for (const [id, { isShown }] of this.#seen) {
      if (isShown) continue;
      this.known(id);
      return;
    }
  }
}
