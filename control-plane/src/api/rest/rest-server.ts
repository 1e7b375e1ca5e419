import {
  type Authenticate,
  addTokenRoutes,
  createHttpServer,
  type HttpTraffic,
  type Logger,
  type OriginRules,
  systemClock,
  type TokenRoutesDeps,
} from "@berth/service-kit";
import swagger from "@fastify/swagger";
import type { FastifyInstance } from "fastify";
import type { Allocator } from "../../allocation/allocator.ts";
import type { DecisionLog } from "../../allocation/decisions/decision-log.ts";
import type { Autoscaler } from "../../autoscaler/autoscaler.ts";
import type { ClusterAgents } from "../../fleet/cluster-agents.ts";
import type { ClusterRegistry } from "../../fleet/cluster-registry.ts";
import type { Commands } from "../../fleet/commands.ts";
import type { FleetAdoption } from "../../fleet/fleet-adoption.ts";
import type { FleetEvents } from "../../fleet/fleet-events.ts";
import type { ControlPlaneScrape } from "../../metrics/scrape.ts";
import type { Org } from "../../org/org.ts";
import type { BlockGateway } from "../../placement/block-gateway.ts";
import type { BlockModeAnswers } from "../../placement/block-mode.ts";
import type { Placements } from "../../placement/placements.ts";
import type { PolicyRegistry } from "../../policies/policy-registry.ts";
import { allocateRoutes } from "./allocate-routes.ts";
import { autoscaleRoutes } from "./autoscale-routes.ts";
import { backtestRoutes } from "./backtest-routes.ts";
import { blockRoutes } from "./block-routes.ts";
import { clusterCallRoutes } from "./cluster-call-routes.ts";
import { clusterRoutes } from "./cluster-routes.ts";
import { commandRoutes } from "./command-routes.ts";
import { decisionRoutes } from "./decision-routes.ts";
import { duplicateRoutes } from "./duplicate-routes.ts";
import { evaluationRoutes } from "./evaluation-routes.ts";
import { eventRoutes } from "./event-routes.ts";
import { fleetRoutes } from "./fleet-routes.ts";
import { type FleetViewDeps, fleetViewRoutes } from "./fleet-view-routes.ts";
import { healthRoutes, type ReadyCheck } from "./health-routes.ts";
import { holdRoutes } from "./hold-routes.ts";
import { type MetricsRoutesDeps, metricsRoutes } from "./metrics-routes.ts";
import { operationRoutes } from "./operation-routes.ts";
import { placementRoutes } from "./placement-routes.ts";
import { policyRoutes } from "./policy-routes.ts";
import { quotaRoutes } from "./quota-routes.ts";
import { reportRoutes } from "./report-routes.ts";
import { scaleRoutes } from "./scale-routes.ts";
import { scrapeRoute } from "./scrape-routes.ts";
import { subjectRoutes } from "./subject-routes.ts";
import { usageRoutes } from "./usage-routes.ts";
import { workflowRoutes } from "./workflow-routes.ts";

/** What the REST API needs. */
export interface RestDeps {
  readonly allocator: Allocator;
  readonly blockMode: BlockModeAnswers;
  readonly placements: Placements;
  readonly gateway: BlockGateway;
  readonly decisions: Pick<DecisionLog, "get" | "list">;
  readonly clusters: ClusterRegistry;
  readonly org: Org;
  readonly autoscaler: Autoscaler;
  /** Secrets of those who tell what subjects use. */
  readonly webhookSecrets: readonly string[];
  readonly agents: ClusterAgents;
  readonly policies: PolicyRegistry;
  /** Enrolment tokens of cluster-agents. */
  readonly tokens: Omit<TokenRoutesDeps, "subjectField">;
  readonly commands: Commands;
  readonly events: FleetEvents;
  readonly adoption: FleetAdoption;
  readonly metrics: MetricsRoutesDeps;
  readonly fleetView: FleetViewDeps;
  readonly scrape: ControlPlaneScrape;
  readonly ready: ReadyCheck;
  readonly authenticate: Authenticate;
  readonly origins: OriginRules;
  /** What this server shares with the program's others. */
  readonly traffic: HttpTraffic;
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
    allocateRoutes(routes, deps);
    decisionRoutes(routes, deps.decisions);
    blockRoutes(routes, deps);
    placementRoutes(routes, deps.placements);
    holdRoutes(routes, deps.gateway);
    operationRoutes(routes, deps.gateway);
    clusterCallRoutes(routes, deps.gateway);
    clusterRoutes(routes, deps.clusters);
    duplicateRoutes(routes, deps.agents);
    policyRoutes(routes, deps.policies);
    quotaRoutes(routes, deps.org);
    subjectRoutes(routes, deps.org);
    usageRoutes(routes, {
      ...{ usage: deps.org.usage, book: deps.org.reported },
      ...{ webhookSecrets: deps.webhookSecrets, clock: systemClock },
    });
    reportRoutes(routes, deps.org.report);
    scaleRoutes(routes, deps.autoscaler);
    autoscaleRoutes(routes, deps.autoscaler);
    evaluationRoutes(routes, deps.autoscaler);
    backtestRoutes(routes, { ...deps.autoscaler, clock: systemClock });
    workflowRoutes(routes, deps.autoscaler, deps.org.id);
    commandRoutes(routes, deps.commands);
    eventRoutes(routes, deps.events);
    fleetRoutes(routes, deps.adoption);
    metricsRoutes(routes, deps.metrics);
    fleetViewRoutes(routes, deps.fleetView);
    scrapeRoute(routes, deps.scrape);
    addTokenRoutes(routes, { ...deps.tokens, subjectField: "cluster_id" });
    routes.get("/openapi.json", { schema: { hide: true } }, () => server.swagger());
  });
  return server;
}
