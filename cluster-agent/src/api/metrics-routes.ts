import { setImmediate as nextTurn } from "node:timers/promises";
import {
  BerthError,
  bodyObject,
  compileFilter,
  type createHttpServer,
  type DocumentFilter,
  isJsonObject,
  parseClientJson,
  toBerthError,
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

/** Nodes that are looked at before others have their turn. */
const NODES_PER_TURN = 100;

/**
 * Metrics of the cluster and its nodes in the shapes of the existing deployment: `/metrics/cluster`,
 * `/metrics/node/<id>` (a list), and `/metrics/node/query` with a Mongo filter as body or, of a GET, as
 * `filter`.
 */
export function addMetricsRoutes(server: HttpServer, options: MetricsRoutesOptions): void {
  for (const prefix of METRICS_PREFIXES) addRoutes(server, prefix, options);
}

function addRoutes(
  server: HttpServer,
  prefix: string,
  { cluster, nodes }: MetricsRoutesOptions,
): void {
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
    return { success: true, data: node === undefined ? [] : [metricsDocument(cluster.id, node)] };
  });
  const matching = async (filter: DocumentFilter) => ({
    success: true,
    data: await matchingDocuments(cluster.id, nodes.views(), filter),
  });
  server.get<{ Querystring: { filter?: unknown } }>(`${prefix}/node/query`, async (request) =>
    matching(filterOfText(request.query.filter)),
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

async function matchingDocuments(
  clusterId: string,
  views: readonly NodeView[],
  filter: DocumentFilter,
): Promise<object[]> {
  const found: object[] = [];
  for (const [index, view] of views.entries()) {
    if (index > 0 && index % NODES_PER_TURN === 0) await nextTurn();
    const document = metricsDocument(clusterId, view);
    if (filter(document)) found.push(document);
  }
  return found;
}

/** The body is the filter, or holds nothing but `query`, which is. */
function filterOfBody(body: Readonly<Record<string, unknown>>): DocumentFilter {
  const { query, ...others } = body;
  const isWrapped = isJsonObject(query) && Object.keys(others).length === 0;
  return isWrapped ? compileFilter(query) : compileFilter(body, "filter");
}

function filterOfText(filter: unknown): DocumentFilter {
  if (filter === undefined) return () => true;
  if (typeof filter !== "string") {
    throw new BerthError("INVALID_ARGUMENT", "filter: expected one JSON object");
  }
  return compileFilter(parsed(filter), "filter");
}

function parsed(text: string): unknown {
  try {
    return parseClientJson(text);
  } catch (cause) {
    const { message } = toBerthError(cause);
    throw new BerthError("INVALID_ARGUMENT", `filter: ${message}`, { cause });
  }
}
