import {
  BerthError,
  compileFilter,
  type createHttpServer,
  isJsonObject,
  losslessBody,
  typeName,
} from "@berth/service-kit";
import { BLOCKS_PREFIXES } from "./block-routes.ts";
import {
  type ClusterActionRoutesOptions,
  onboardNode,
  updateCluster,
} from "./cluster-action-routes.ts";

type HttpServer = ReturnType<typeof createHttpServer>;

/**
 * The cluster as the existing deployment's data API serves it beside its blocks (existing-cluster-controller §1.2):
 * `GET /cluster/get`, `POST /cluster/query` (a list: this cluster, where the query finds it), `POST /cluster/update/nodes`
 * with a node's entry and `POST /cluster/update/config` with the whole config. What changes is governed as `add-node` and
 * `update-cluster` are.
 */
export function addClusterDataRoutes(
  server: HttpServer,
  options: Pick<ClusterActionRoutesOptions, "cluster" | "governor" | "nodes">,
): void {
  const { cluster } = options;
  for (const prefix of BLOCKS_PREFIXES) {
    const path = `${prefix}/cluster`;
    server.get(`${path}/get`, async () => ({ success: true, data: cluster.document() }));
    server.post(`${path}/query`, async ({ body }) => {
      const matches = compileFilter(filterOf(body));
      const document = cluster.document();
      return { success: true, data: matches(document) ? [document] : [] };
    });
    server.post(`${path}/update/nodes`, async (request, reply) =>
      onboardNode(losslessBody(request), { ...options, reply }),
    );
    server.post(`${path}/update/config`, async (request, reply) =>
      updateCluster({ $set: { config: losslessBody(request) } }, { ...options, reply }),
    );
  }
}

/** The filter, bare or as `query`; every cluster without one. */
function filterOf(body: unknown): unknown {
  if (body === undefined) return {};
  if (!isJsonObject(body)) {
    const message = `the request body: expected a JSON object, got ${typeName(body)}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  return body.query ?? body;
}
