import type { Clock } from "@berth/service-kit";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { withLeased } from "./overlay.ts";
import type { PlacedGpu } from "./placement.ts";

/** Removals that are remembered: a decision is over long before so many more. */
const MAX_REMOVALS = 1_000;
/** Emptied clusters are looked for so often, in ms. */
const SWEEP_INTERVAL_MS = 60_000;

interface Assumed {
  readonly untilMs: number;
  /** Number of the decision that assumed it. */
  readonly decision: number;
}

interface AssumedCluster {
  /** Node id to slot to what is assumed of that GPU. */
  readonly nodes: Map<string, Map<string, Assumed>>;
  /** The next GPU to come free again does so then. */
  nextFreeMs: number;
  /** The last view that was overlaid, while neither it nor the assumptions change. */
  cached: { readonly base: ClusterView; readonly view: ClusterView } | undefined;
}

/**
 * GPUs that recent answers gave away. For some seconds they count as leased in other decisions, so that
 * callers at the same moment do not all get the same idle GPU (failure-model §4). Nothing here is held:
 * it is forgotten on restart, and the owner of the GPUs knows nothing of it.
 */
export class Assumptions {
  readonly #clock: Pick<Clock, "nowMs">;
  readonly #clusters = new Map<string, AssumedCluster>();
  /** Clusters that were removed, with the number of that removal; the last removed ones come last. */
  readonly #removals = new Map<string, number>();
  #decisions = 0;
  #sweptAtMs = 0;

  constructor(clock: Pick<Clock, "nowMs">) {
    this.#clock = clock;
  }

  /** Number of the newest decision or removal; what is assumed or removed later has a higher one. */
  get newest(): number {
    return this.#decisions;
  }

  /**
   * Assumes GPUs for some seconds, or longer where they are assumed for longer already. Not those of clusters that
   * were removed after decision number `since`: whoever has their ids now has other GPUs. Gives the number of this
   * decision; undefined when nothing is to be assumed.
   */
  assume(
    orgId: string,
    gpus: readonly PlacedGpu[],
    { seconds, since }: { readonly seconds: number; readonly since: number },
  ): number | undefined {
    if (gpus.length === 0 || seconds <= 0) return undefined;
    const nowMs = this.#clock.nowMs();
    this.#sweep(nowMs);
    this.#decisions += 1;
    for (const { clusterId, nodeId, slot } of gpus) {
      const key = clusterKey(orgId, clusterId);
      if ((this.#removals.get(key) ?? 0) > since) continue;
      const cluster = this.#cluster(key);
      const slots = cluster.nodes.get(nodeId) ?? new Map<string, Assumed>();
      cluster.nodes.set(nodeId, slots);
      const known = slots.get(slot);
      const untilMs = Math.max(known?.untilMs ?? 0, nowMs + seconds * 1_000);
      slots.set(slot, { untilMs, decision: this.#decisions });
      cluster.nextFreeMs = Math.min(cluster.nextFreeMs, untilMs);
      if (known === undefined) cluster.cached = undefined;
    }
    return this.#decisions;
  }

  /** Forgets what a decision assumed of these GPUs, where no later one assumes them. */
  withdraw(orgId: string, gpus: readonly PlacedGpu[], decision: number): void {
    for (const { clusterId, nodeId, slot } of gpus) {
      const cluster = this.#clusters.get(clusterKey(orgId, clusterId));
      const slots = cluster?.nodes.get(nodeId);
      if (cluster === undefined || slots?.get(slot)?.decision !== decision) continue;
      slots.delete(slot);
      if (slots.size === 0) cluster.nodes.delete(nodeId);
      cluster.cached = undefined;
    }
  }

  /** What a decision assumed of these GPUs ends within some seconds, where no later one assumes them. */
  shorten(
    orgId: string,
    gpus: readonly PlacedGpu[],
    { decision, seconds }: { readonly decision: number; readonly seconds: number },
  ): void {
    const latestMs = this.#clock.nowMs() + seconds * 1_000;
    for (const { clusterId, nodeId, slot } of gpus) {
      const cluster = this.#clusters.get(clusterKey(orgId, clusterId));
      const slots = cluster?.nodes.get(nodeId);
      const known = slots?.get(slot);
      if (cluster === undefined || known?.decision !== decision) continue;
      const untilMs = Math.min(known.untilMs, latestMs);
      slots?.set(slot, { untilMs, decision });
      cluster.nextFreeMs = Math.min(cluster.nextFreeMs, untilMs);
    }
  }

  /** The cluster was removed: forgets what is assumed of it, and what decisions that still run would assume. */
  remove(orgId: string, clusterId: string): void {
    const key = clusterKey(orgId, clusterId);
    this.#clusters.delete(key);
    this.#decisions += 1;
    this.#removals.delete(key);
    this.#removals.set(key, this.#decisions);
    const [oldest] = this.#removals.keys();
    if (this.#removals.size > MAX_REMOVALS && oldest !== undefined) this.#removals.delete(oldest);
  }

  /** The cluster as a decision sees it now: with what is assumed of it. */
  overlay(view: ClusterView): ClusterView {
    const key = clusterKey(view.orgId, view.id);
    const cluster = this.#clusters.get(key);
    if (cluster === undefined) return view;
    this.#forgetPast(cluster, this.#clock.nowMs());
    if (cluster.nodes.size === 0) {
      this.#clusters.delete(key);
      return view;
    }
    if (cluster.cached?.base !== view) {
      const leased = [...cluster.nodes].map(([id, slots]) => [id, new Set(slots.keys())] as const);
      cluster.cached = { base: view, view: withLeased(view, new Map(leased)) };
    }
    return cluster.cached.view;
  }

  /** Those of the GPUs that decisions after number `since` gave away. */
  contested(orgId: string, gpus: readonly PlacedGpu[], since: number): readonly PlacedGpu[] {
    const nowMs = this.#clock.nowMs();
    return gpus.filter(({ clusterId, nodeId, slot }) => {
      const cluster = this.#clusters.get(clusterKey(orgId, clusterId));
      const assumed = cluster?.nodes.get(nodeId)?.get(slot);
      return assumed !== undefined && assumed.decision > since && assumed.untilMs > nowMs;
    });
  }

  #cluster(key: string): AssumedCluster {
    let cluster = this.#clusters.get(key);
    if (cluster === undefined) {
      cluster = { nodes: new Map(), nextFreeMs: Number.POSITIVE_INFINITY, cached: undefined };
      this.#clusters.set(key, cluster);
    }
    return cluster;
  }

  #sweep(nowMs: number): void {
    if (nowMs - this.#sweptAtMs < SWEEP_INTERVAL_MS) return;
    this.#sweptAtMs = nowMs;
    for (const [key, cluster] of this.#clusters) {
      this.#forgetPast(cluster, nowMs);
      if (cluster.nodes.size === 0) this.#clusters.delete(key);
    }
  }

  #forgetPast(cluster: AssumedCluster, nowMs: number): void {
    if (nowMs < cluster.nextFreeMs) return;
    cluster.nextFreeMs = Number.POSITIVE_INFINITY;
    cluster.cached = undefined;
    for (const [nodeId, slots] of cluster.nodes) {
      for (const [slot, { untilMs }] of slots) {
        if (untilMs <= nowMs) slots.delete(slot);
        else cluster.nextFreeMs = Math.min(cluster.nextFreeMs, untilMs);
      }
      if (slots.size === 0) cluster.nodes.delete(nodeId);
    }
  }
}

function clusterKey(orgId: string, clusterId: string): string {
  return `${orgId}\n${clusterId}`;
}
