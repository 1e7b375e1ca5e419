import type { Clock } from "@berth/service-kit";
import { RepeatFilter } from "./repeat-filter.ts";

/**
 * Clusters that are remembered at most: of the address that has most of them, the longest silent one that is not
 * shown is forgotten first.
 */
const MAX_REMEMBERED = 1_000;
/** Clusters that are shown and told of at most; addresses share them. */
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
  /** Where it asked from; empty where that is not known. */
  readonly address: string;
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

  /** An agent has asked with a key that is not known, and claims a cluster; `address` is where it asked from. */
  asked(clusterId: string, address = ""): void {
    const nowMs = this.#clock.nowMs();
    this.#forgetSilent(nowMs);
    const firstAtMs = this.#seen.get(clusterId)?.firstAtMs ?? nowMs;
    this.known(clusterId);
    this.#makeRoom();
    const isShown = nowMs - firstAtMs >= PATIENCE_MS && this.#findPlace(address);
    if (isShown) this.#shown += 1;
    const seenAt = this.#clock.timestamp();
    const seen = { clusterId, seenAt, address, firstAtMs, lastAtMs: nowMs, isShown };
    this.#seen.set(clusterId, seen);
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
    const busiest = this.#busiest(({ isShown }) => !isShown);
    for (const [id, { isShown, address }] of this.#seen) {
      if (isShown || address !== busiest?.address) continue;
      this.known(id);
      return;
    }
  }

  /** Whether one more of an address may be shown; it takes the place of one of an address that has more. */
  #findPlace(address: string): boolean {
    if (this.#shown < MAX_SHOWN) return true;
    const busiest = this.#busiest(({ isShown }) => isShown);
    const own = this.#count((seen) => seen.isShown && seen.address === address);
    if (busiest === undefined || busiest.count <= own + 1) return false;
    for (const [id, seen] of this.#seen) {
      if (!seen.isShown || seen.address !== busiest.address) continue;
      this.#seen.set(id, { ...seen, isShown: false });
      this.#shown -= 1;
      return true;
    }
    return false;
  }

  #count(counts: (seen: Seen) => boolean): number {
    return [...this.#seen.values()].filter(counts).length;
  }

  /** The address that has most of those that count. */
  #busiest(counts: (seen: Seen) => boolean): { address: string; count: number } | undefined {
    const byAddress = new Map<string, number>();
    for (const seen of this.#seen.values()) {
      if (counts(seen)) byAddress.set(seen.address, (byAddress.get(seen.address) ?? 0) + 1);
    }
    let busiest: { address: string; count: number } | undefined;
    for (const [address, count] of byAddress) {
      if (count > (busiest?.count ?? 0)) busiest = { address, count };
    }
    return busiest;
  }
}
