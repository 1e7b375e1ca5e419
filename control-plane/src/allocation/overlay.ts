import type {
  AggregateMetrics,
  ClusterDocument,
  ClusterMetrics,
  GpuEntry,
  GpuMetrics,
  NodeEntry,
  NodeMetrics,
} from "@berth/proto";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { DOCUMENT_LAYOUT, METRICS_LAYOUT, OverlayText } from "./overlay-text.ts";
import { slotOf } from "./slot-of.ts";

/** Slots of GPUs by node id. */
export type SlotsByNode = ReadonlyMap<string, ReadonlySet<string>>;

/** What an overlaid view was made from. */
export interface Overlaid {
  readonly base: ClusterView;
  readonly leased: SlotsByNode;
}

/** Where the metrics of a cluster tell of its GPUs. */
export const CLUSTER_GPU_PATH = ["cluster", "gpu"] as const;

const overlaidViews = new WeakMap<ClusterView, Overlaid>();

/** What a view was made from; undefined for one that {@link withLeased} did not make. */
export function overlaidOf(view: ClusterView): Overlaid | undefined {
  return overlaidViews.get(view);
}

/**
 * The view in which some free GPUs count as leased: their `state`, the `free_gpus` of their nodes, in the
 * document and in the metrics, and there the `free_gpus` of the cluster. Only free GPUs change; the same view comes back when none of them is. The
 * texts are made when they are asked for, and keep everything else as its owner wrote it.
 */
export function withLeased(base: ClusterView, leased: SlotsByNode): ClusterView {
  const nodeData = mapChanged(base.document.nodes.nodeData, (entry) =>
    leaseInEntry(entry, leased.get(entry.id)),
  );
  const nodes = mapChanged(base.metrics?.nodes ?? [], (node) =>
    leaseInMetrics(node, leased.get(node.id)),
  );
  if (nodeData === undefined && nodes === undefined) return base;
  const view = new OverlaidView(base, nodeData, nodes);
  overlaidViews.set(view, { base, leased });
  return view;
}

class OverlaidView implements ClusterView {
  readonly id: string;
  readonly orgId: string;
  readonly health: ClusterView["health"];
  readonly document: ClusterDocument;
  readonly metrics: ClusterView["metrics"];
  readonly reportedAtMs: number | null;
  readonly revision: number;
  readonly #base: ClusterView;
  #documentJson: string | undefined;
  #metricsJson: string | undefined;
  #nodes: ClusterView["nodes"] | undefined;

  constructor(
    base: ClusterView,
    nodeData: readonly NodeEntry[] | undefined,
    nodes: readonly NodeMetrics[] | undefined,
  ) {
    this.#base = base;
    this.id = base.id;
    this.orgId = base.orgId;
    this.health = base.health;
    this.reportedAtMs = base.reportedAtMs;
    this.revision = base.revision;
    this.document =
      nodeData === undefined
        ? base.document
        : { ...base.document, nodes: { ...base.document.nodes, nodeData } };
    const isSame = nodes === undefined || base.metrics === null;
    this.metrics = isSame
      ? base.metrics
      : { ...base.metrics, nodes, cluster: leaseInCluster(base.metrics, nodes) };
  }

  get nodes(): ClusterView["nodes"] {
    const { metrics } = this;
    if (metrics === null || metrics === this.#base.metrics) return this.#base.nodes;
    this.#nodes ??= new Map(metrics.nodes.map((node) => [node.id, node]));
    return this.#nodes;
  }

  get nodesAtMs(): ClusterView["nodesAtMs"] {
    return this.#base.nodesAtMs;
  }

  get documentJson(): string {
    if (this.document === this.#base.document) return this.#base.documentJson;
    const { document } = this.#base;
    this.#documentJson ??= textsOf(this.#base).document.with(
      document.nodes.nodeData,
      this.document.nodes.nodeData,
    );
    return this.#documentJson;
  }

  get metricsJson(): string | null {
    const { metrics } = this.#base;
    if (this.metrics === metrics || this.metrics === null || metrics === null) {
      return this.#base.metricsJson;
    }
    const freeGpus = freeGpusOf(this.metrics.cluster);
    const ofCluster =
      freeGpus === undefined ? [] : [[CLUSTER_GPU_PATH, "free_gpus", freeGpus] as const];
    this.#metricsJson ??= textsOf(this.#base).metrics.with(
      metrics.nodes,
      this.metrics.nodes,
      ofCluster,
    );
    return this.#metricsJson;
  }
}

function leaseInEntry(entry: NodeEntry, slots: ReadonlySet<string> | undefined): NodeEntry {
  // Documents that were registered by REST need not hold any of this.
  const known: readonly GpuEntry[] | undefined = entry.gpus?.gpus;
  if (slots === undefined || known === undefined) return entry;
  const gpus = mapChanged(known, (gpu, index): GpuEntry => asLeased(gpu, index, slots));
  if (gpus === undefined) return entry;
  return { ...entry, gpus: { ...entry.gpus, gpus }, free_gpus: gpus.filter(isFree).length };
}

function leaseInMetrics(node: NodeMetrics, slots: ReadonlySet<string> | undefined): NodeMetrics {
  if (slots === undefined) return node;
  const gpus = mapChanged(node.gpus, (gpu, index): GpuMetrics => asLeased(gpu, index, slots));
  if (gpus === undefined) return node;
  return { ...node, gpus, free_gpus: gpus.filter(isFree).length };
}

/** The groups of the cluster, which are over its healthy nodes, with the free GPUs that its nodes have then. */
function leaseInCluster(
  { cluster, nodes: before }: ClusterMetrics,
  after: readonly NodeMetrics[],
): AggregateMetrics {
  const freeGpus = freeGpusOf(cluster);
  if (freeGpus === undefined) return cluster;
  const taken = after.reduce((sum, node, index) => {
    const was = before[index]?.free_gpus ?? 0;
    return node.status === "healthy" ? sum + was - (node.free_gpus ?? was) : sum;
  }, 0);
  return { ...cluster, gpu: { ...cluster.gpu, free_gpus: Math.max(0, freeGpus - taken) } };
}

/** What the groups of a cluster tell of its free GPUs; undefined without GPUs. */
export function freeGpusOf({ gpu }: AggregateMetrics): number | undefined {
  const told = gpu?.free_gpus;
  return typeof told === "number" ? told : undefined;
}

function asLeased<G extends GpuEntry | GpuMetrics>(
  gpu: G,
  index: number,
  slots: ReadonlySet<string>,
): G {
  return slots.has(slotOf(gpu, index)) && isFree(gpu) ? { ...gpu, state: "leased" } : gpu;
}

function isFree(gpu: { readonly state?: string }): boolean {
  return gpu.state === undefined || gpu.state === "free";
}

interface Texts {
  readonly document: OverlayText<NodeEntry>;
  readonly metrics: OverlayText<NodeMetrics>;
}

/** Texts of the clusters as they have them, taken apart once for all overlays of one view. */
const texts = new WeakMap<ClusterView, Texts>();

function textsOf(base: ClusterView): Texts {
  let known = texts.get(base);
  if (known === undefined) {
    known = {
      document: new OverlayText(base.documentJson, DOCUMENT_LAYOUT),
      metrics: new OverlayText(base.metricsJson ?? "null", METRICS_LAYOUT),
    };
    texts.set(base, known);
  }
  return known;
}

/** The list with some items replaced, or undefined when none of them is another one. */
function mapChanged<T>(
  items: readonly T[],
  change: (item: T, index: number) => T,
): readonly T[] | undefined {
  let changed = false;
  const mapped = items.map((item, index) => {
    const next = change(item, index);
    if (next !== item) changed = true;
    return next;
  });
  return changed ? mapped : undefined;
}
