import type { Clock } from "@berth/service-kit";
import type { GpuReading, HostReading, ReadingQuality } from "../nodes/inventory.ts";
import type { NodeView } from "../nodes/node-view.ts";
import { mean } from "./numbers.ts";

/** Nodes and GPUs that are told one by one; of more only the numbers and the mean are. */
export const SERIES_LIMITS = { nodes: 500, gpus: 2_000 } as const;

/** A GPU that is told of. */
export interface ScrapedGpu {
  readonly node: NodeView;
  readonly slot: number;
  /** Absent unless it is a reading of now. */
  readonly reading?: GpuReading;
}

/** A node that is told of. */
export interface ScrapedNode {
  readonly node: NodeView;
  /** Absent unless it is a reading of now. */
  readonly host?: HostReading;
}

/** What one scrape tells of the nodes. */
export interface ScrapeSnapshot {
  readonly nodes: readonly ScrapedNode[];
  readonly gpus: readonly ScrapedGpu[];
  /** How many there are, and how many of them are not in the lists. */
  readonly counts: {
    readonly liveNodes: number;
    readonly otherNodes: number;
    readonly freeGpus: number;
    readonly unhealthyGpus: number;
    readonly droppedNodes: number;
    readonly droppedGpus: number;
  };
  /** Mean over the GPUs of live nodes that tell it, 0-100; absent when none does. */
  readonly gpuUtilizationPercent?: number;
}

/** The families of one scrape are read within this time, ms. */
const SAME_SCRAPE_MS = 200;

/** Gives all families of one scrape the same nodes, looked at once. */
export function snapshots(views: () => readonly NodeView[], clock: Clock): () => ScrapeSnapshot {
  let held: { readonly atMs: number; readonly snapshot: ScrapeSnapshot } | undefined;
  return () => {
    const nowMs = clock.nowMs();
    if (held === undefined || nowMs - held.atMs > SAME_SCRAPE_MS) {
      held = { atMs: nowMs, snapshot: snapshotOf(views()) };
    }
    return held.snapshot;
  };
}

/** What a scrape tells of nodes, in their order; pure. */
export function snapshotOf(views: readonly NodeView[]): ScrapeSnapshot {
  const live = views.filter((view) => view.liveness === "live");
  const gpus: ScrapedGpu[] = [];
  let [freeGpus, allGpus] = [0, 0];
  for (const node of views) {
    allGpus += node.verdicts.length;
    freeGpus += node.verdicts.filter((verdict) => verdict.state === "free").length;
    const room = SERIES_LIMITS.gpus - gpus.length;
    for (const slot of node.slots.slice(0, room).keys()) gpus.push(scrapedGpu(node, slot));
  }
  const nodes = views.slice(0, SERIES_LIMITS.nodes).map(scrapedNode);
  const utilization = mean(live.flatMap(utilizations));
  return {
    nodes,
    gpus,
    counts: {
      liveNodes: live.length,
      otherNodes: views.length - live.length,
      freeGpus,
      unhealthyGpus: allGpus - freeGpus,
      droppedNodes: views.length - nodes.length,
      droppedGpus: allGpus - gpus.length,
    },
    ...(utilization === undefined ? {} : { gpuUtilizationPercent: utilization }),
  };
}

function scrapedNode(node: NodeView): ScrapedNode {
  const { host } = node;
  return host !== undefined && isOfNow(node, host) ? { node, host: host.reading } : { node };
}

function scrapedGpu(node: NodeView, slot: number): ScrapedGpu {
  const sample = node.gpus.get(node.slots[slot]?.uuid ?? "");
  const isRead = sample !== undefined && isOfNow(node, sample);
  return isRead ? { node, slot, reading: sample.reading } : { node, slot };
}

function utilizations(node: NodeView): (number | undefined)[] {
  const fresh = [...node.gpus.values()].filter((sample) => isOfNow(node, sample));
  return fresh.map((sample) => sample.reading.utilizationPercent);
}

/** A series of a node that is silent ends: the last value would be taken for one of now. */
function isOfNow(node: NodeView, { quality }: { readonly quality: ReadingQuality }): boolean {
  return node.liveness === "live" && quality !== "stale" && quality !== "unavailable";
}
