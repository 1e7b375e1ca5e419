import {
  bodyObject,
  compileFilter,
  type createHttpServer,
  filterObject,
  filterOfBody,
  filterOfParameters,
  QueryRunner,
} from "@berth/service-kit";
import type { Cluster } from "../cluster/cluster.ts";
import type { NodeRegistry } from "../nodes/node-registry.ts";
import type { NodeView } from "../nodes/node-view.ts";
import { nodeMetrics } from "../telemetry/node-metrics.ts";

type HttpServer = ReturnType<typeof createHttpServer>;

/** What {@link addMetricsRoutes} serves from. */
export interface MetricsRoutesOptions {
  readonly cluster: Cluster;
  readonly nodes: NodeRegistry;
}

/** Where the routes answer: at the root as the metrics writer had them, and below `urlMap.metricsService`. */
const METRICS_PREFIXES = ["", "/metrics", "/metrics/metrics"];

/**
 * Metrics of the cluster and its nodes in the shapes of the existing deployment: `/metrics/cluster`,
 * `/metrics/node/<id>` (a list), and `/metrics/node/query` with a Mongo filter as body or, of a GET, as
 * `filter` or as fields with their values.
 */
export function addMetricsRoutes(server: HttpServer, options: MetricsRoutesOptions): void {
  const queries = new QueryRunner();
  for (const prefix of METRICS_PREFIXES) addRoutes(server, prefix, { ...options, queries });
}

function addRoutes(
  server: HttpServer,
  prefix: string,
  { cluster, nodes, queries }: MetricsRoutesOptions & { readonly queries: QueryRunner },
): void {
  const documentOf = (node: NodeView) => metricsDocument(cluster.id, node);
  server.get(`${prefix}/cluster`, async () => {
    const metrics = cluster.metrics();
    return {
      success: true,
      data: { cluster_metrics: metrics.cluster, node_metrics: metrics.nodes },
    };
  });
  server.get<{ Params: { id: string } }>(`${prefix}/node/:id`, async (request) => {
    const node = nodes.view(request.params.id);
    // A list, empty for an unknown node: existing clients read it so.
    return { success: true, data: node === undefined ? [] : [documentOf(node)] };
  });
  const matching = async (filter: unknown) => {
    const field = "filter";
    const matches = compileFilter(filterObject(filter, field), field);
    const found = await queries.select({ items: nodes.views(), matches, documentOf, field });
    return { success: true, data: found.map(documentOf) };
  };
  server.get(`${prefix}/node/query`, async (request) =>
    matching(filterOfParameters(request.query as Readonly<Record<string, unknown>>)),
  );
  server.post(`${prefix}/node/query`, async (request) =>
    matching(filterOfBody(bodyObject(request))),
  );
}

/** The document of a node as the metrics writer keeps it. */
function metricsDocument(clusterId: string, node: NodeView) {
  return {
    nodeId: node.id,
    clusterId,
    type: "hardware",
    metrics: { resource: { node: nodeMetrics(node) } },
  };
}
