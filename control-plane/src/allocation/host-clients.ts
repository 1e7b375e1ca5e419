import type { HostClient, HostReply } from "@berth/policy-sandbox";
import { compileFilter, isBerthError, type QueryRunner, type Selection } from "@berth/service-kit";
import type { ClusterView } from "../fleet/cluster-view.ts";
import type { MetricsDocument } from "../metrics/global-metrics-document.ts";
import { compileMetricsQuery } from "../metrics/metrics-query.ts";
import { policyMetrics } from "./policy-metrics.ts";
import type { Sight } from "./sight.ts";

/** What the decision at hand sees; there before the policy can ask. */
export type SightOf = () => Sight;

/**
 * The clients that the allocator puts into a policy's settings, with the conventions of the existing
 * deployment: `cluster_client` answers a tuple (ok, data) and never raises, `cluster_metrics_client`
 * answers the data or raises. Both answer from what the policy's input was made from, so a decision sees
 * one state of the fleet. Writing is refused: policies decide, they do not register.
 */
export function hostClients(
  sight: SightOf,
  queries: QueryRunner,
): Readonly<Record<string, HostClient>> {
  const select = once(queries);
  return {
    cluster_client: clusterClient(sight, select),
    cluster_metrics_client: clusterMetricsClient(sight, select),
  };
}

/**
 * The clients of a ranking policy: `cluster_metrics_api` as above, and `block_metrics_api`, which knows
 * no block until blocks report metrics here.
 */
export function rankingClients(
  sight: SightOf,
  queries: QueryRunner,
): Readonly<Record<string, HostClient>> {
  return {
    cluster_metrics_api: clusterMetricsClient(sight, once(queries)),
    block_metrics_api: {
      methods: {
        get_block: (args) => raise("APIError", `block not found: ${args[0]}`),
        query_blocks: () => ({ kind: "value", json: "[]" }),
      },
    },
  };
}

type Select = (selection: Selection<ClusterView>) => Promise<readonly ClusterView[]>;

/** Runs the queries of one evaluation; after one that took too long no other of it is tried. */
function once(queries: QueryRunner): Select {
  let refusal: unknown;
  return async (selection) => {
    if (refusal !== undefined) throw refusal;
    try {
      return await queries.select(selection);
    } catch (thrown) {
      if (isBerthError(thrown)) refusal = thrown;
      throw thrown;
    }
  };
}

const READ_ONLY = "policies cannot change the cluster registry";

function clusterClient(sight: SightOf, select: Select): HostClient {
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
          const documentOf = (view: ClusterView) => view.document;
          const items = sight().all();
          const found = await select({ items, matches, documentOf, field: "query", signal });
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

function clusterMetricsClient(sight: SightOf, select: Select): HostClient {
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
          const field = "query_params";
          const query = compileMetricsQuery(args[0] ?? kwargs.query_params ?? {}, field);
          const matches = (document: object) =>
            query.mayMatch(document as MetricsDocument) &&
            query.matches(document as MetricsDocument);
          const items = sight().all();
          const found = await select({ items, matches, documentOf: policyMetrics, field, signal });
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
