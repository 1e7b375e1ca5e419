import {
  type Authenticate,
  createHttpServer,
  type Logger,
  type OriginRules,
} from "@berth/service-kit";
import swagger from "@fastify/swagger";
import type { FastifyInstance } from "fastify";
import type { Allocator } from "../../allocation/allocator.ts";
import type { ClusterRegistry } from "../../fleet/cluster-registry.ts";
import type { PolicyRegistry } from "../../policies/policy-registry.ts";
import { allocateRoutes } from "./allocate-routes.ts";
import { clusterRoutes } from "./cluster-routes.ts";
import { healthRoutes, type ReadyCheck } from "./health-routes.ts";
import { policyRoutes } from "./policy-routes.ts";

/** What the REST API needs. */
export interface RestDeps {
  readonly allocator: Allocator;
  readonly clusters: ClusterRegistry;
  readonly policies: PolicyRegistry;
  readonly ready: ReadyCheck;
  readonly authenticate: Authenticate;
  readonly origins: OriginRules;
  readonly logger: Logger;
  /** Version in the OpenAPI document: "0.1.0". */
  readonly version: string;
}

/** The REST server of the control-plane, not yet listening. `GET /openapi.json` describes it. */
export function createRestServer(deps: RestDeps): FastifyInstance {
  const server = createHttpServer(deps);
  // Handlers validate with one voice for every transport; the schemas of routes describe them.
  server.setValidatorCompiler(() => () => true);
  server.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "Berth control-plane", version: deps.version },
    },
  });
  server.register(async (routes) => {
    healthRoutes(routes, deps.ready);
    allocateRoutes(routes, deps.allocator);
    clusterRoutes(routes, deps.clusters);
    policyRoutes(routes, deps.policies);
    routes.get("/openapi.json", { schema: { hide: true } }, () => server.swagger());
  });
  return server;
}
