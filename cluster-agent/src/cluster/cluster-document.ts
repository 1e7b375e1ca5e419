import type { ClusterDocument, NodeEntry } from "@berth/proto";
import type { DeclaredCluster } from "./declared-cluster.ts";

/** Where the agent's services answer, as `config.urlMap` names them. */
export function urlMap(baseUrl: string): Readonly<Record<string, string>> {
  return {
    controllerService: `${baseUrl}/controller`,
    metricsService: `${baseUrl}/metrics`,
    blocksQuery: `${baseUrl}/blocks`,
    publicGateway: baseUrl,
    parameterUpdater: `${baseUrl}/mgmt`,
  };
}

/** What a cluster document is made of. */
export interface ClusterFacts {
  readonly clusterId: string;
  readonly declared: DeclaredCluster;
  readonly nodes: readonly NodeEntry[];
  /** "http://127.0.0.1:32000". */
  readonly baseUrl: string;
}

/** The cluster document (seed "Cluster DB"): declared fields, its nodes, and sums over them. */
export function clusterDocument({
  clusterId,
  declared,
  nodes,
  baseUrl,
}: ClusterFacts): ClusterDocument {
  return {
    id: clusterId,
    regionId: declared.regionId,
    status: "live",
    nodes: { count: nodes.length, nodeData: nodes },
    gpus: {
      count: total(nodes, (node) => node.gpus.count),
      memory: total(nodes, (node) => node.gpus.memory),
    },
    vcpus: { count: total(nodes, (node) => node.vcpus.count) },
    memory: total(nodes, (node) => node.memory),
    swap: total(nodes, (node) => node.swap),
    storage: {
      disks: total(nodes, (node) => node.storage.disks),
      size: total(nodes, (node) => node.storage.size),
    },
    network: {
      interfaces: total(nodes, (node) => node.network.interfaces),
      txBandwidth: total(nodes, (node) => node.network.txBandwidth),
      rxBandwidth: total(nodes, (node) => node.network.rxBandwidth),
    },
    config: { ...declared.config, urlMap: urlMap(baseUrl) },
    tags: declared.tags,
    clusterMetadata: declared.clusterMetadata,
    reputation: declared.reputation,
    ...(nodes.some((node) => node.simulated === true) ? { simulated: true } : {}),
  };
}

function total(nodes: readonly NodeEntry[], value: (node: NodeEntry) => number): number {
  return nodes.reduce((sum, node) => sum + value(node), 0);
}
