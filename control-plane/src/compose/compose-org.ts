import {
  type Config,
  type DocumentStore,
  type Logger,
  openBus,
  Pacer,
  type Part,
  systemClock,
} from "@berth/service-kit";
import { type Autoscaler, openAutoscaler } from "../autoscaler/autoscaler.ts";
import { confirmationSubject, everySubject } from "../autoscaler/scaling/scale-messages.ts";
import { openVictims, type VictimsDeps } from "../autoscaler/scaling/victims.ts";
import type { ClusterRegistry } from "../fleet/cluster-registry.ts";
import { type Org, openOrg } from "../org/org.ts";
import type { BlockGateway } from "../placement/block-gateway.ts";
import type { settings } from "../settings.ts";
import type { Fleet } from "./compose-fleet.ts";
import type { Metrics } from "./compose-metrics.ts";
import { capsOf } from "./compose-placement.ts";

/** What {@link composeOrg} is made from. */
export interface OrgSources {
  readonly config: Config<typeof settings>;
  readonly store: DocumentStore;
  readonly clusters: ClusterRegistry;
  readonly fleet: Pick<Fleet, "blocks" | "events">;
  readonly metrics: Pick<Metrics, "routes">;
  readonly gateway: BlockGateway;
  /** How policies run that pick what goes. */
  readonly running: Omit<VictimsDeps, "orgId" | "caps">;
  readonly logger: Logger;
}

/** The org, and what scales it. */
export interface ComposedOrg {
  readonly org: Org;
  readonly autoscaler: Autoscaler;
  /** To be started in their order. */
  readonly parts: readonly Part[];
}

/** Opens the org over the clusters and blocks of the fleet, and what scales it over a bus of its own. */
export async function composeOrg(sources: OrgSources): Promise<ComposedOrg> {
  const { config, store, clusters, fleet, metrics, gateway, running, logger } = sources;
  const { orgId, natsUrl: url, subjectAllocatorUrl: allocatorUrl } = config;
  const clock = systemClock;
  const org = await openOrg({
    ...{ store, orgId, clusters, blocks: fleet.blocks, events: fleet.events },
    ...{ metrics: metrics.routes.metrics, pace: new Pacer(), clock },
    logger: logger.child({ component: "org" }),
  });
  const own = logger.child({ component: "autoscaler" });
  const subjects = [confirmationSubject(orgId), everySubject(orgId)];
  const bus = openBus({ url, orgId, subjects, logger: own, clock });
  const autoscaler = await openAutoscaler({
    ...{ orgId, store, books: org, bus, gateway, allocatorUrl, logger: own, clock },
    victims: openVictims({ ...running, caps: capsOf(config), orgId }),
  });
  const closing = { name: "bus", start: async () => {}, stop: () => bus.close() };
  const parts = [closing, ...autoscaler.parts, org.aggregator, org.feed];
  return { org, autoscaler, parts };
}
