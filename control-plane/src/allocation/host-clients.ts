import type { HostClient, HostReply } from "@berth/policy-sandbox";
import { compileFilter, isBerthError } from "@berth/service-kit";
import type { ClusterView } from "../fleet/cluster-view.ts";
import type { Pacer } from "./pacer.ts";
import type { Sight } from "./sight.ts";

/** What the decision at hand sees; there before the policy can ask. */
export type SightOf = () => Sight;

/**
 * The clients that the allocator puts into a policy's settings, with the conventions of the existing
 * deployment: `cluster_client` answers a tuple (ok, data) and never raises, `cluster_metrics_client`
 * answers the data or raises. Both answer from what the policy's input was made from, so a decision sees
 * one state of the fleet. Writing is refused: policies decide, they do not register.
 */
export function hostClients(sight: SightOf, pacer: Pacer): Readonly<Record<string, HostClient>> {
  return {
    cluster_client: clusterClient(sight, pacer),
    cluster_metrics_client: clusterMetricsClient(sight, pacer),
  };
}

/**
 * The clients of a ranking policy: `cluster_metrics_api` as above, and `block_metrics_api`, which knows
 * no block until blocks report metrics here.
 */
export function rankingClients(sight: SightOf, pacer: Pacer): Readonly<Record<string, HostClient>> {
  return {
    cluster_metrics_api: clusterMetricsClient(sight, pacer),
    block_metrics_api: {
      methods: {
        get_block: (args) => raise("APIError", `block not found: ${args[0]}`),
        query_blocks: () => ({ kind: "value", json: "[]" }),
      },
    },
  };
}

const READ_ONLY = "policies cannot change the cluster registry";

function clusterClient(sight: SightOf, pacer: Pacer): HostClient {
  const refuseWrite = () => tuple(false, JSON.stringify(`Error occurred: ${READ_ONLY}`));
  return {
    methods: {
      read_cluster: (args, kwargs) => {
        const id = args[0] ?? kwargs.cluster_id;
        const view = sight().get(String(id));
        if (view !== undefined) return tuple(true, view.documentJson);
        const why = `HTTP error occurred: 404 Client Error: Cluster not found: ${id}`;
        return tuple(false, JSON.stringify(why));
      },
      execute_query: async (args, kwargs, signal) => {
        try {
          const matches = compileFilter(args[0] ?? kwargs.query ?? {});
          const found: ClusterView[] = [];
          const look = (view: ClusterView) => {
            if (matches(view.document)) found.push(view);
          };
          await pacer.each(sight().all(), look, signal);
          return tuple(true, `[${found.map((view) => view.documentJson).join(",")}]`);
        } catch (thrown) {
          return tuple(false, JSON.stringify(`Error occurred: ${messageOf(thrown)}`));
        }
      },
      create_cluster: refuseWrite,
      update_cluster: refuseWrite,
      delete_cluster: refuseWrite,
    },
  };
}

function clusterMetricsClient(sight: SightOf, pacer: Pacer): HostClient {
  const refuseWrite = () => raise("PermissionError", READ_ONLY);
  return {
    methods: {
      get_cluster: (args, kwargs) => {
        const id = String(args[0] ?? kwargs.cluster_id);
        const metrics = sight().get(id)?.metricsJson;
        if (metrics !== undefined && metrics !== null) return { kind: "value", json: metrics };
        return raise("APIError", `cluster not found: ${id}`);
      },
      query_clusters: async (args, kwargs, signal) => {
        try {
          const matches = compileFilter(args[0] ?? kwargs.query_params ?? {}, "query_params");
          const found: ClusterView[] = [];
          const look = (view: ClusterView) => {
            if (view.metrics !== null && matches(view.metrics)) found.push(view);
          };
          await pacer.each(sight().all(), look, signal);
          return { kind: "value", json: `[${found.map((view) => view.metricsJson).join(",")}]` };
        } catch (thrown) {
          return raise("ValueError", messageOf(thrown));
        }
      },
      create_cluster: refuseWrite,
      update_cluster: refuseWrite,
      delete_cluster: refuseWrite,
    },
  };
}

function tuple(ok: boolean, json: string): HostReply {
  return { kind: "tuple", items: [String(ok), json] };
}

function raise(type: string, message: string): HostReply {
  return { kind: "raise", type, message };
}

function messageOf(thrown: unknown): string {
  if (isBerthError(thrown)) return thrown.message;
  throw thrown;
}
