import type { ClusterDocument, GpuEntry, GpuMetrics, NodeEntry, NodeMetrics } from "@berth/proto";
import type { ClusterView } from "../fleet/cluster-view.ts";

/** Slots of GPUs by node id. */
export type SlotsByNode = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * The view in which some free GPUs count as leased: their `state`, the `free_gpus` of their nodes, in the
 * document and in the metrics. Only free GPUs change; the same view comes back when none of them is.
 */
export function withLeased(view: ClusterView, leased: SlotsByNode): ClusterView {
  const nodeData = mapChanged(view.document.nodes.nodeData, (entry) =>
    leaseInEntry(entry, leased.get(entry.id)),
  );
  const nodes = mapChanged(view.metrics?.nodes ?? [], (node) =>
    leaseInMetrics(node, leased.get(node.id)),
  );
  if (nodeData === undefined && nodes === undefined) return view;
  return {
    ...view,
    ...(nodeData === undefined ? {} : documentOf(view.document, nodeData)),
    ...(nodes === undefined ? {} : metricsOf(view, nodes)),
  };
}

function leaseInEntry(entry: NodeEntry, slots: ReadonlySet<string> | undefined): NodeEntry {
  // Documents that were registered by REST need not hold any of this.
  const known: readonly GpuEntry[] | undefined = entry.gpus?.gpus;
  if (slots === undefined || known === undefined) return entry;
  const gpus = mapChanged(known, (gpu, index): GpuEntry => {
    const id: string | undefined = gpu.id;
    return slots.has(id ?? String(index)) && isFree(gpu) ? { ...gpu, state: "leased" } : gpu;
  });
  if (gpus === undefined) return entry;
  return { ...entry, gpus: { ...entry.gpus, gpus }, free_gpus: gpus.filter(isFree).length };
}

function leaseInMetrics(node: NodeMetrics, slots: ReadonlySet<string> | undefined): NodeMetrics {
  if (slots === undefined) return node;
  const gpus = mapChanged(
    node.gpus,
    (gpu): GpuMetrics => (slots.has(gpu.id) && isFree(gpu) ? { ...gpu, state: "leased" } : gpu),
  );
  if (gpus === undefined) return node;
  return { ...node, gpus, free_gpus: gpus.filter(isFree).length };
}

function isFree(gpu: { readonly state?: string }): boolean {
  return gpu.state === undefined || gpu.state === "free";
}

function documentOf(
  document: ClusterDocument,
  nodeData: readonly NodeEntry[],
): Pick<ClusterView, "document" | "documentJson"> {
  const nodes = { ...document.nodes, nodeData };
  const list = nodeData.map(textOf).join(",");
  const nodesText = objectText(nodes, "nodeData", `[${list}]`);
  return {
    document: { ...document, nodes },
    documentJson: objectText(document, "nodes", nodesText),
  };
}

function metricsOf(
  view: ClusterView,
  nodes: readonly NodeMetrics[],
): Pick<ClusterView, "metrics" | "metricsJson" | "nodes"> {
  const { metrics } = view;
  if (metrics === null) return view;
  return {
    metrics: { ...metrics, nodes },
    metricsJson: objectText(metrics, "nodes", `[${nodes.map(textOf).join(",")}]`),
    nodes: new Map(nodes.map((node) => [node.id, node])),
  };
}

/** JSON of nodes that are looked at again and again, as long as they live; they never change. */
const texts = new WeakMap<object, string>();

function textOf(node: NodeEntry | NodeMetrics): string {
  let text = texts.get(node);
  if (text === undefined) {
    text = JSON.stringify(node);
    texts.set(node, text);
  }
  return text;
}

/** JSON of an object, one member of which is there as text already. */
function objectText(object: object, member: string, memberText: string): string {
  const members = Object.entries(object).flatMap(([key, value]) => {
    const text = key === member ? memberText : JSON.stringify(value);
    return text === undefined ? [] : [`${JSON.stringify(key)}:${text}`];
  });
  return `{${members.join(",")}}`;
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
