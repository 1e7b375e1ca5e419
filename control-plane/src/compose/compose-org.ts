import {
  type Config,
  type DocumentStore,
  type Logger,
  openBus,
  openMirror,
  Pacer,
  type Part,
  systemClock,
} from "@berth/service-kit";
import { type Autoscaler, openAutoscaler } from "../autoscaler/autoscaler.ts";
import { autoscalerFamilies } from "../autoscaler/autoscaler-families.ts";
import { fleetWholeness } from "../autoscaler/evaluation/fleet-wholeness.ts";
import { FeedReports, ownReports } from "../autoscaler/evaluation/report-sources.ts";
import type { ReportSource } from "../autoscaler/evaluation/taken-report.ts";
import { openPlacer, type PlacerDeps } from "../autoscaler/scaling/placer.ts";
import { MIRRORED_REQUESTS } from "../autoscaler/scaling/scale-book.ts";
import { confirmationSubject, everySubject } from "../autoscaler/scaling/scale-messages.ts";
import { openVictims, type VictimsDeps } from "../autoscaler/scaling/victims.ts";
import { modulePolicies } from "../autoscaler/workflows/module-policies.ts";
import { AgentBindings } from "../fleet/agent-bindings.ts";
import type { ClusterRegistry } from "../fleet/cluster-registry.ts";
import { type Org, openOrg } from "../org/org.ts";
import { StateMirror } from "../org/store/state-mirror.ts";
import type { BlockGateway } from "../placement/block-gateway.ts";
import type { settings } from "../settings.ts";
import type { Fleet } from "./compose-fleet.ts";
import type { Metrics } from "./compose-metrics.ts";
import { capsOf } from "./compose-placement.ts";
import type { ReadinessParts } from "./readiness.ts";

/** What {@link composeOrg} is made from. */
export interface OrgSources {
  readonly config: Config<typeof settings>;
  readonly store: DocumentStore;
  /** Of what was decided. */
  readonly decisionStore: DocumentStore;
  readonly clusters: ClusterRegistry;
  readonly fleet: Pick<Fleet, "agentApi" | "blocks" | "events">;
  readonly metrics: Pick<Metrics, "routes" | "scrape">;
  readonly gateway: BlockGateway;
  readonly allocator: PlacerDeps["allocator"];
  /** How policies run: those that pick what goes, and the modules of workflows. */
  readonly running: Omit<VictimsDeps, "orgId" | "caps">;
  readonly logger: Logger;
}

/** The org, and what scales it. */
export interface ComposedOrg {
  readonly org: Org;
  readonly autoscaler: Autoscaler;
  /** How bus and mirror stand. */
  readonly status: () => Pick<ReadinessParts, "bus" | "mirror">;
  /** To be started in their order. */
  readonly parts: readonly Part[];
}

/** Opens the org over the clusters and blocks of the fleet, and what scales it over a bus of its own. */
export async function composeOrg(sources: OrgSources): Promise<ComposedOrg> {
  const { config, store, decisionStore, clusters, fleet, metrics, gateway, running, logger } =
    sources;
  const { orgId, natsUrl: url, subjectAllocatorUrl: allocatorUrl } = config;
  const clock = systemClock;
  const mirror = await openStateMirror(sources);
  const org = await openOrg({
    ...{ store, orgId, clusters, mirror, blocks: fleet.blocks, events: fleet.events },
    ...{ metrics: metrics.routes.metrics, pace: new Pacer(), clock },
    logger: logger.child({ component: "org" }),
  });
  const own = logger.child({ component: "autoscaler" });
  const subjects = [confirmationSubject(orgId), everySubject(orgId)];
  const bus = openBus({ url, orgId, subjects, logger: own, clock });
  const caps = capsOf(config);
  const reports = openReports(config, { org, logger: own });
  const autoscaler = await openAutoscaler({
    ...{ orgId, store, decisionStore, books: org, bus, gateway, allocatorUrl, logger: own, clock },
    victims: openVictims({ ...running, caps, orgId }),
    runModule: modulePolicies({ ...running, caps, orgId }),
    reports: reports.source,
    missingClusters: await missingClusters(sources),
    placer: openPlacer({
      ...{ orgId, clusters, clock, allocator: sources.allocator },
      ...{ agents: fleet.agentApi, blocks: fleet.blocks },
    }),
  });
  metrics.scrape.registry.add(...autoscalerFamilies(autoscaler, bus));
  const closing = { name: "bus", start: async () => {}, stop: () => bus.close() };
  const mirrored = mirror === undefined ? [] : [mirror];
  const parts = [
    ...mirrored,
    closing,
    ...reports.parts,
    ...autoscaler.parts,
    org.aggregator,
    org.feed,
  ];
  const status = () => ({ bus: bus.status, mirror: mirror?.status });
  return { org, autoscaler, status, parts };
}

/** Brings the store and its mirror together; undefined when there is to be none. */
async function openStateMirror({ config, store, logger }: OrgSources) {
  const { redisUrl, dataDir: directory, orgId } = config;
  if (redisUrl === "") return undefined;
  const own = logger.child({ component: "mirror" });
  const mirror = openMirror({ redisUrl, directory, orgId, logger: own });
  const grouped = [MIRRORED_REQUESTS];
  const state = new StateMirror({ store, orgId, mirror, grouped, logger: own });
  await state.open();
  return state;
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

/** Tells which clusters have not come back since this start. */
async function missingClusters({ config: { orgId }, store, clusters }: OrgSources) {
  const holders = await new AgentBindings(store, orgId).holders();
  const startedMs = systemClock.nowMs();
  return fleetWholeness({
    known: new Set(holders.keys()),
    snapshot: () => clusters.snapshot(orgId),
    sinceStartMs: () => systemClock.nowMs() - startedMs,
  });
}
