import type { ClusterDocument, ClusterMetrics, NodeEntry } from "@berth/proto";
import type { BlockRecord } from "../blocks/block-records.ts";

/** What a resource allocator's policy is asked to do. */
export type AllocatorAction =
  | "dry_run"
  | "allocation"
  | "scale"
  | "reassignment"
  | "third_party_allocate";

/** What its input is made of. */
export interface AllocatorFacts {
  readonly action: AllocatorAction;
  readonly block: Pick<BlockRecord, "json">;
  readonly cluster: ClusterDocument;
  readonly metrics: ClusterMetrics;
  /** Ids of the nodes that are live. */
  readonly healthyNodes: readonly string[];
  /** UUIDs of GPUs that are as good as taken: chosen just before, or just lost to somebody else. */
  readonly takenGpus: ReadonlySet<string>;
  /** The instance that is moved; only of a reassignment. */
  readonly instance?: { readonly instanceId: string; readonly podName: string } | undefined;
  readonly extraData: unknown;
}

/**
 * `input_data` of a resource allocator's policy as JSON text, in the seed's shape and with what the existing deployment adds:
 * `{action, payload: {action, block, cluster, cluster_metrics, healthy_nodes, block_metrics, extra_data, …}}`. Numbers
 * stay as they were written. The block carries its cluster, as it always did.
 */
export function allocatorInput(facts: AllocatorFacts): string {
  const { action, block, metrics, healthyNodes, takenGpus, instance, extraData } = facts;
  const cluster = JSON.stringify(withoutGpus(facts.cluster, takenGpus));
  const members = [
    ["action", JSON.stringify(action)],
    // An entry has at least an id, so that a comma stands between it and what follows.
    ["block", `${block.json.slice(0, -1)},"cluster":${cluster}}`],
    ["cluster", cluster],
    ["cluster_metrics", JSON.stringify(metrics)],
    ["healthy_nodes", JSON.stringify(healthyNodes)],
    ["block_metrics", "[]"],
    ...(instance === undefined
      ? []
      : [
          ["instance_id", JSON.stringify(instance.instanceId)],
          ["pod_name", JSON.stringify(instance.podName)],
        ]),
    ["extra_data", JSON.stringify(extraData ?? {})],
  ];
  const payload = members.map(([name, text]) => `"${name}":${text}`).join(",");
  return `{"action":${JSON.stringify(action)},"payload":{${payload}}}`;
}

/** The cluster with some of its free GPUs shown as allocated. */
export function withoutGpus(cluster: ClusterDocument, uuids: ReadonlySet<string>): ClusterDocument {
  if (uuids.size === 0) return cluster;
  const nodeData = cluster.nodes.nodeData.map((node) => withoutGpusOf(node, uuids));
  return { ...cluster, nodes: { ...cluster.nodes, nodeData } };
}

function withoutGpusOf(node: NodeEntry, uuids: ReadonlySet<string>): NodeEntry {
  if (!node.gpus.gpus.some(({ uuid }) => uuids.has(uuid))) return node;
  const gpus = node.gpus.gpus.map((gpu) => {
    if (gpu.state !== "free" || !uuids.has(gpu.uuid)) return gpu;
    return { ...gpu, state: "allocated" as const };
  });
  const free = gpus.filter(({ state }) => state === "free").length;
  return { ...node, gpus: { ...node.gpus, gpus }, free_gpus: free };
}
