import type { Sandbox } from "@berth/policy-sandbox";
import {
  type Config,
  isLoopback,
  type Logger,
  Pacer,
  type Part,
  type ScrapedProgram,
  systemClock,
} from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { type AliasPort, aliasPorts } from "../api/rest/alias-ports.ts";
import type { FleetViewDeps } from "../api/rest/fleet-view-routes.ts";
import type { MetricsRoutesDeps } from "../api/rest/metrics-routes.ts";
import type { WsEndpoints } from "../api/ws/ws-server.ts";
import type { ClusterRegistry } from "../fleet/cluster-registry.ts";
import { GlobalMetrics } from "../metrics/global-metrics.ts";
import { History } from "../metrics/history.ts";
import { ControlPlaneScrape } from "../metrics/scrape.ts";
import { AllocationCounter } from "../metrics/scrape-allocations.ts";
import { WatchHub } from "../metrics/watch-hub.ts";
import type { settings } from "../settings.ts";
import type { Fleet } from "./compose-fleet.ts";

type ControlPlaneConfig = Config<typeof settings>;

/** The HTTP port at which aliases are served when nobody says. */
const DEFAULT_HTTP_PORT = 8_000;

/** What {@link openMetrics} is made of. */
export interface MetricsSources {
  readonly config: ControlPlaneConfig;
  readonly program: ScrapedProgram;
  readonly clusters: ClusterRegistry;
  readonly fleet: Fleet;
  readonly sandbox: Pick<Sandbox, "stats">;
  /** Number of open WebSockets. */
  readonly webSockets: () => number;
  readonly logger: Logger;
}

/** What the control-plane tells of its fleet over time, and of itself. */
export interface Metrics {
  readonly routes: MetricsRoutesDeps;
  readonly fleetView: FleetViewDeps;
  readonly scrape: ControlPlaneScrape;
  /** Hears of every allocation. */
  readonly allocations: AllocationCounter;
  readonly history: History;
}

/** Puts the metrics together; the history is a part that is to be started. */
export function openMetrics(sources: MetricsSources): Metrics {
  const { config, program, clusters, fleet, sandbox, webSockets } = sources;
  const { orgId } = config;
  const clock = systemClock;
  const pace = new Pacer();
  const logger = sources.logger.child({ component: "history" });
  const history = new History({ clusters, orgId, pace, clock, logger });
  const watches = new WatchHub({ clusters, pace, clock });
  const allocations = new AllocationCounter();
  const { sessions } = fleet.agents;
  const scrape = new ControlPlaneScrape({
    ...{ program, clusters, orgId, pace },
    own: {
      allocations,
      sandbox: () => sandbox.stats(),
      agentLinks: () => sessions.status(orgId).filter(({ connected }) => connected).length,
      webSockets,
      watchers: () => watches.size,
      historySeries: () => history.series,
    },
  });
  return {
    routes: { metrics: new GlobalMetrics({ clusters, pace, clock }), history },
    fleetView: { clusters, watches, pace, clock },
    ...{ scrape, allocations, history },
  };
}

/** A part that is left out, with a line in the log, when it cannot be started. */
function optional(part: Part, setting: string, logger: Logger): Part {
  return {
    ...part,
    async start() {
      try {
        await part.start();
      } catch (thrown) {
        const why = thrown instanceof Error ? thrown.message : String(thrown);
        logger.warn("an alias port is not served", { alias: part.name, setting, why });
      }
    },
  };
}

/** The ports of the seeds on which `rest` answers too; none where others than this machine could reach them. */
export function openAliasPorts(
  config: ControlPlaneConfig,
  {
    rest,
    sockets,
  }: { readonly rest: FastifyInstance; readonly sockets: Pick<WsEndpoints, "part"> },
  logger: Logger,
): readonly Part[] {
  const { host, aliasPorts: choice, httpPort } = config;
  const isOn = choice === "on" || (choice === "auto" && httpPort === DEFAULT_HTTP_PORT);
  if (!isOn || !isLoopback(host)) return [];
  const ports: readonly AliasPort[] = [
    {
      name: "cluster registry",
      port: config.clustersAliasPort,
      setting: "BERTH_CLUSTERS_ALIAS_PORT",
    },
    { name: "cluster metrics", port: config.metricsAliasPort, setting: "BERTH_METRICS_ALIAS_PORT" },
    {
      name: "subject metrics",
      port: config.subjectMetricsAliasPort,
      setting: "BERTH_SUBJECT_METRICS_ALIAS_PORT",
      paths: { "/subjects": "/subject-metrics", "/subjects/": "/subject-metrics" },
    },
    { name: "subjects", port: config.subjectsAliasPort, setting: "BERTH_SUBJECTS_ALIAS_PORT" },
    { name: "autoscaler", port: config.autoscaleAliasPort, setting: "BERTH_AUTOSCALE_ALIAS_PORT" },
  ];
  const setting = "BERTH_ADHOC_ALIAS_PORT";
  const adhoc = sockets.part({ host, port: config.adhocAliasPort, setting }, () => "adhoc");
  return [
    aliasPorts(rest, { host, ports, logger }),
    optional({ ...adhoc, name: "ad-hoc scaling" }, setting, logger),
  ];
}
