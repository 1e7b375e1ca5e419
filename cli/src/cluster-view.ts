/** What the summary says about one node. */
export interface NodeView {
  readonly id: string;
  /** Name of the processor; undefined when the document does not carry it. */
  readonly cpuModel: string | undefined;
  /** Logical processors. */
  readonly cores: number;
  readonly memoryMiB: number;
  /** Model name of each GPU, in slot order. */
  readonly gpuModels: readonly string[];
  /** Why the node's GPUs could not be listed; undefined when they could. */
  readonly gpuError?: string | undefined;
}

/** What the wait for a cluster and the summary need of a cluster document. */
export interface ClusterView {
  readonly id: string;
  readonly status: string;
  readonly nodes: readonly NodeView[];
}

/** Reads a cluster document; undefined for anything that is none. Unknown parts are left out. */
export function readClusterDocument(document: unknown): ClusterView | undefined {
  const id = textAt(document, "id");
  const status = textAt(document, "status");
  if (id === undefined || status === undefined) return undefined;
  return { id, status, nodes: listAt(at(document, "nodes"), "nodeData").map(readNode) };
}

/** Ids of the nodes that report, from the answer of `/cluster/<id>` (`{success, data: ClusterMetrics}`). */
export function healthyNodes(answer: unknown): ReadonlySet<string> {
  const nodes = listAt(at(answer, "data"), "nodes");
  const healthy = nodes.filter((node) => textAt(node, "status") === "healthy");
  return new Set(healthy.flatMap((node) => textAt(node, "id") ?? []));
}

function readNode(node: unknown): NodeView {
  return {
    id: textAt(node, "id") ?? "?",
    cpuModel: cpuModelOf(at(node, "nodeMetadata")),
    cores: numberAt(at(node, "vcpus"), "count"),
    memoryMiB: numberAt(node, "memory"),
    gpuError: textAt(at(node, "nodeMetadata"), "gpuError"),
    gpuModels: listAt(at(node, "gpus"), "gpus").map((gpu) => textAt(gpu, "modelName") ?? "GPU"),
  };
}

/** The fingerprint's processor name, where the cluster's agent puts it: flat or under `cpu`. */
function cpuModelOf(metadata: unknown): string | undefined {
  const cpu = at(metadata, "cpu");
  const found = [
    textAt(metadata, "cpuModel"),
    textAt(metadata, "cpu_model"),
    textAt(cpu, "modelName"),
    textAt(cpu, "model_name"),
    textAt(cpu, "model"),
  ];
  return found.find((name) => name !== undefined && name.trim() !== "")?.trim();
}

/** Member of a JSON object; undefined where there is none. */
export function at(value: unknown, key: string): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
}

/** Text member of a JSON object. */
export function textAt(value: unknown, key: string): string | undefined {
  const member = at(value, key);
  return typeof member === "string" ? member : undefined;
}

/** List member of a JSON object; empty where there is none. */
export function listAt(value: unknown, key: string): readonly unknown[] {
  const member = at(value, key);
  return Array.isArray(member) ? member : [];
}

/** Number member of a JSON object; 0 where there is none. */
export function numberAt(value: unknown, key: string): number {
  const member = at(value, key);
  return typeof member === "number" ? member : 0;
}
