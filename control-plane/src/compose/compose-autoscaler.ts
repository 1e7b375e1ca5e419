import {
  type Bus,
  type Config,
  type DocumentStore,
  type Logger,
  openBus,
  type Part,
  systemClock,
} from "@berth/service-kit";
import { type Autoscaler, openAutoscaler } from "../autoscaler/autoscaler.ts";
import { autoscalerFamilies } from "../autoscaler/autoscaler-families.ts";
import { fleetWholeness } from "../autoscaler/evaluation/fleet-wholeness.ts";
import { FeedReports, ownReports } from "../autoscaler/evaluation/report-sources.ts";
import type { ReportSource } from "../autoscaler/evaluation/taken-report.ts";
import { openPlacer, type PlacerDeps } from "../autoscaler/scaling/placer.ts";
import { confirmationSubject, everySubject } from "../autoscaler/scaling/scale-messages.ts";
import { openVictims, type VictimsDeps } from "../autoscaler/scaling/victims.ts";
import { moduleChecks } from "../autoscaler/workflows/module-checks.ts";
import { modulePolicies } from "../autoscaler/workflows/module-policies.ts";
import type { ClusterRegistry } from "../fleet/cluster-registry.ts";
import type { Org } from "../org/org.ts";
import type { BlockGateway } from "../placement/block-gateway.ts";
import type { settings } from "../settings.ts";
import type { Fleet } from "./compose-fleet.ts";
import type { Metrics } from "./compose-metrics.ts";
import { capsOf } from "./compose-placement.ts";

/** What {@link composeAutoscaler} is made from. */
export interface AutoscalerSources {
  readonly config: Config<typeof settings>;
  readonly store: DocumentStore;
  readonly org: Org;
  /** Of what was decided. */
  readonly decisionStore: DocumentStore;
  readonly clusters: ClusterRegistry;
  readonly fleet: Pick<Fleet, "agentApi" | "blocks">;
  readonly metrics: Pick<Metrics, "scrape">;
  readonly gateway: BlockGateway;
  readonly allocator: PlacerDeps["allocator"];
  /** How policies run: those that pick what goes, and the modules of workflows. */
  readonly running: Omit<VictimsDeps, "orgId" | "caps">;
  readonly logger: Logger;
}

/** What scales the org. */
export interface ComposedAutoscaler {
  readonly autoscaler: Autoscaler;
  /** What confirmations and notices go over. */
  readonly bus: Pick<Bus, "status">;
  /** To be started in their order. */
  readonly parts: readonly Part[];
}

/** Opens what scales the subjects of an org, over a bus of its own. */
export async function composeAutoscaler(sources: AutoscalerSources): Promise<ComposedAutoscaler> {
  const { config, store, org, decisionStore, clusters, fleet, gateway, running } = sources;
  const { orgId, natsUrl: url, subjectAllocatorUrl: allocatorUrl } = config;
  const clock = systemClock;
  const startedMs = clock.nowMs();
  const own = sources.logger.child({ component: "autoscaler" });
  const subjects = [confirmationSubject(orgId), everySubject(orgId)];
  const bus = openBus({ url, orgId, subjects, logger: own, clock });
  const caps = capsOf(config);
  const reports = openReports(config, { org, logger: own });
  const autoscaler = await openAutoscaler({
    ...{ orgId, store, decisionStore, books: org, bus, gateway, allocatorUrl, logger: own, clock },
    victims: openVictims({ ...running, caps, orgId }),
    runModule: modulePolicies({ ...running, caps, orgId }),
    moduleChecks: moduleChecks({ ...running, orgId }),
    reports: reports.source,
    missingClusters: fleetWholeness({
      unheard: org.unheard,
      sinceStartMs: () => clock.nowMs() - startedMs,
    }),
    placer: openPlacer({
      ...{ orgId, clusters, clock, allocator: sources.allocator },
      ...{ agents: fleet.agentApi, blocks: fleet.blocks },
    }),
  });
  sources.metrics.scrape.registry.add(...autoscalerFamilies(autoscaler, bus));
  const closing = { name: "bus", start: async () => {}, stop: () => bus.close() };
  return { autoscaler, bus, parts: [closing, ...reports.parts, ...autoscaler.parts] };
}

/** Where the autoscaler's reports come from: this program, or a feed that the settings name. */
function openReports(
  { metricsUrl }: Config<typeof settings>,
  { org, logger }: { readonly org: Org; readonly logger: Logger },
): { readonly source: ReportSource; readonly parts: readonly Part[] } {
  if (metricsUrl === "") return { source: ownReports(org.report), parts: [] };
  const feed = new FeedReports({ url: metricsUrl, clock: systemClock, logger });
  return { source: feed, parts: [feed] };
}
