import type { Clock, Logger, Pacer, Part } from "@berth/service-kit";
import type { ClusterRegistry } from "../fleet/cluster-registry.ts";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { CLUSTER_SERIES, clusterReadings, NODE_SERIES, nodeReadings } from "./history-readings.ts";
import { RingShelf } from "./history-shelf.ts";

/** Time between two readings, ms. */
export const HISTORY_INTERVAL_MS = 15_000;
/** Readings that are kept of each series: an hour. */
export const HISTORY_POINTS = 240;

/** Most series that are kept. */
export interface HistoryLimits {
  readonly clusterSeries: number;
  readonly nodeSeries: number;
}

/** 20,000 in all, of 1,000 clusters and 1,666 nodes. */
export const HISTORY_LIMITS: HistoryLimits = { clusterSeries: 10_000, nodeSeries: 10_000 };

/** What {@link History} needs. */
export interface HistoryDeps {
  readonly clusters: Pick<ClusterRegistry, "snapshot">;
  /** Org whose clusters are recorded. */
  readonly orgId: string;
  /** Lets others have their turn while many nodes are read. */
  readonly pace: Pacer;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits?: HistoryLimits;
}

/** Series of one cluster or node, the oldest point first. */
export interface HistorySeries {
  /** Wall-clock time of the last point, ISO 8601. */
  readonly end: string;
  /** Null where nothing is known. */
  readonly series: Readonly<Record<string, readonly (number | null)[]>>;
}

/** Whose history is asked for. */
export interface HistorySubject {
  readonly orgId: string;
  readonly clusterId: string;
  /** One of its nodes; the cluster itself when absent. */
  readonly nodeId?: string | undefined;
}

/** What there is of a cluster's or node's history. */
export type HistoryAnswer =
  | ({ readonly kind: "found" } & HistorySeries)
  /** Nothing was recorded yet. */
  | ({ readonly kind: "none" } & HistorySeries)
  /** It is one too many. */
  | { readonly kind: "full"; readonly limit: number };

/**
 * The last hour of every cluster and node for charts, one reading every 15 s, in memory. Time that passed
 * without a reading is unknown. Who is gone is forgotten when the hour is over, or sooner when there is no
 * more room.
 */
export class History implements Part {
  readonly name = "history";
  readonly #deps: HistoryDeps;
  readonly #clusters: RingShelf;
  readonly #nodes: RingShelf;
  readonly #stopped = new AbortController();
  readonly #beganAtMs: number;
  /** The newest slot; undefined before the first reading. */
  #slot: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<void> = Promise.resolve();
  #hasToldFull = false;

  constructor(deps: HistoryDeps) {
    const { clusterSeries, nodeSeries } = deps.limits ?? HISTORY_LIMITS;
    this.#deps = deps;
    this.#beganAtMs = deps.clock.nowMs();
    const shared = { points: HISTORY_POINTS };
    // Sums over a cluster have more digits than a node's values.
    const wide = (size: number) => new Float64Array(size);
    const narrow = (size: number) => new Float32Array(size);
    const ofClusters = { names: CLUSTER_SERIES, limit: clusterSeries, room: wide };
    const ofNodes = { names: NODE_SERIES, limit: nodeSeries, room: narrow };
    this.#clusters = new RingShelf({ ...shared, ...ofClusters });
    this.#nodes = new RingShelf({ ...shared, ...ofNodes });
  }

  /** Series that are kept. */
  get series(): number {
    return this.#clusters.series + this.#nodes.series;
  }

  /** Takes a reading every 15 s from now on. */
  async start(): Promise<void> {
    this.#arm();
  }

  /** Resolves when the reading under way has ended. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    clearTimeout(this.#timer);
    await this.#reading;
  }

  /** Takes the reading of now. */
  async record(): Promise<void> {
    const { clusters, orgId, pace } = this.#deps;
    const slot = this.#slotNow();
    const snapshot = await clusters.snapshot(orgId);
    await pace.run(this.#recording([...snapshot.clusters.values()], slot), this.#stopped.signal);
    this.#slot = slot;
    this.#clusters.forgetBefore(slot - HISTORY_POINTS + 1);
    this.#nodes.forgetBefore(slot - HISTORY_POINTS + 1);
    this.#tellFull();
  }

  /** The newest points of a cluster, or of one of its nodes. */
  read({ orgId, clusterId, nodeId }: HistorySubject, points: number): HistoryAnswer {
    const shelf = nodeId === undefined ? this.#clusters : this.#nodes;
    const id = nodeId === undefined ? clusterId : nodeKey(clusterId, nodeId);
    const slot = this.#slot ?? 0;
    const series = orgId === this.#deps.orgId ? shelf.read(id, slot, points) : undefined;
    if (series === undefined && shelf.isFull) return { kind: "full", limit: shelf.limit };
    const kind = series === undefined ? "none" : "found";
    return { kind, end: this.#timeOf(slot), series: series ?? shelf.unknown(points) };
  }

  *#recording(views: readonly ClusterView[], slot: number): Generator<void, void> {
    for (const view of views) {
      this.#clusters.record(view.id, slot, () => clusterReadings(view));
      yield;
      for (const node of view.metrics?.nodes ?? []) {
        this.#nodes.record(nodeKey(view.id, node.id), slot, () => nodeReadings(node, view));
        yield;
      }
    }
  }

  #arm(): void {
    const dueAtMs = this.#beganAtMs + (this.#slotNow() + 1) * HISTORY_INTERVAL_MS;
    this.#timer = setTimeout(() => {
      this.#reading = this.#tick();
    }, dueAtMs - this.#deps.clock.nowMs());
  }

  async #tick(): Promise<void> {
    try {
      await this.record();
    } catch (err) {
      if (this.#stopped.signal.aborted) return;
      this.#deps.logger.error("no reading for the history was taken", { err });
    }
    if (!this.#stopped.signal.aborted) this.#arm();
  }

  /** A reading that comes a little early or late is that of the slot it was due for. */
  #slotNow(): number {
    return Math.round((this.#deps.clock.nowMs() - this.#beganAtMs) / HISTORY_INTERVAL_MS);
  }

  #timeOf(slot: number): string {
    const { clock } = this.#deps;
    const agoMs = clock.nowMs() - this.#beganAtMs - slot * HISTORY_INTERVAL_MS;
    return new Date(Date.parse(clock.timestamp()) - agoMs).toISOString();
  }

  #tellFull(): void {
    if (this.#hasToldFull || !(this.#clusters.isFull || this.#nodes.isFull)) return;
    this.#hasToldFull = true;
    const message = "the history is full; clusters and nodes beyond have no charts";
    const limits = { cluster_series: this.#clusters.limit, node_series: this.#nodes.limit };
    this.#deps.logger.warn(message, limits);
  }
}

/** Cluster ids hold no slash. */
function nodeKey(clusterId: string, nodeId: string): string {
  return `${clusterId}/${nodeId}`;
}
