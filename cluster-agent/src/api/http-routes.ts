import {
  addScrapeRoute,
  addTokenRoutes,
  BerthError,
  type createHttpServer,
  type Enrolment,
  losslessBody,
  type ScrapeRegistry,
  toBerthError,
} from "@berth/service-kit";
import type { Cluster } from "../cluster/cluster.ts";
import type { NodeRegistry } from "../nodes/node-registry.ts";
import { nodeStatus } from "../telemetry/node-status.ts";
import { addMetricsRoutes } from "./metrics-routes.ts";
import { addNodeRoutes } from "./node-routes.ts";

type HttpServer = ReturnType<typeof createHttpServer>;

/** What {@link addHttpRoutes} serves from. */
export interface HttpRoutesOptions {
  readonly cluster: Cluster;
  readonly nodes: NodeRegistry;
  /** Tokens and keys of node-agents. */
  readonly enrolment: Enrolment;
  /** State of the link to the control-plane, for `/readyz`. */
  readonly link: () => object;
  /** Whether node-agents can dial in. */
  readonly nodePortOpen: () => boolean;
  /** Resolves when the store answers. */
  readonly checkStore: () => Promise<unknown>;
  /** What `GET /metrics` answers. */
  readonly scraped: ScrapeRegistry;
}

/** Where the controller's own routes answer: at the root and below `urlMap.controllerService`. */
const CONTROLLER_PREFIXES = ["", "/controller"];

/** Adds the routes of the cluster's REST surface to a server. */
export function addHttpRoutes(server: HttpServer, options: HttpRoutesOptions): void {
  for (const prefix of CONTROLLER_PREFIXES) addControllerRoutes(server, prefix, options);
  addMetricsRoutes(server, options);
  addScrapeRoute(server, options.scraped);
  addHealthRoutes(server, options);
  addNodeRoutes(server, options);
  addTokenRoutes(server, { enrolment: options.enrolment, subjectField: "node_id" });
}

function addControllerRoutes(
  server: HttpServer,
  prefix: string,
  { cluster, nodes }: HttpRoutesOptions,
): void {
  server.get(`${prefix}/healthy_nodes`, async () => ({
    success: true,
    nodes: nodes
      .views()
      .filter((node) => node.liveness === "live")
      .map((node) => node.id),
  }));
  server.get(`${prefix}/nodes_status`, async () => ({
    success: true,
    nodes_status: nodes.views().map(nodeStatus),
  }));
  server.get(`${prefix}/cluster-actions/get-cluster`, async () => ({
    success: true,
    data: cluster.document(),
  }));
  server.patch(`${prefix}/cluster-actions/update-cluster`, async (request) => ({
    success: true,
    data: await cluster.update(losslessBody(request)),
  }));
}

function addHealthRoutes(server: HttpServer, options: HttpRoutesOptions): void {
  server.get("/healthz", async () => ({ success: true }));
  server.get("/readyz", async () => {
    const link = options.link();
    if (!options.nodePortOpen()) {
      throw new BerthError("UNAVAILABLE", "the node port is not open", { details: { link } });
    }
    try {
      await options.checkStore();
    } catch (cause) {
      const { message } = toBerthError(cause);
      const details = { link };
      throw new BerthError("UNAVAILABLE", `the store does not answer: ${message}`, {
        cause,
        details,
      });
    }
    return { success: true, link };
  });
}
