import {
  type Config,
  type DocumentStore,
  type Logger,
  openMirror,
  Pacer,
  type Part,
  systemClock,
} from "@berth/service-kit";
import { MIRRORED_REQUESTS } from "../autoscaler/scaling/scale-book.ts";
import { AgentBindings } from "../fleet/agent-bindings.ts";
import type { ClusterRegistry } from "../fleet/cluster-registry.ts";
import { unheardClusters } from "../fleet/unheard-clusters.ts";
import { type Org, openOrg } from "../org/org.ts";
import { StateMirror } from "../org/store/state-mirror.ts";
import type { settings } from "../settings.ts";
import type { Fleet } from "./compose-fleet.ts";
import type { Metrics } from "./compose-metrics.ts";

/** What {@link composeOrg} is made from. */
export interface OrgSources {
  readonly config: Config<typeof settings>;
  readonly store: DocumentStore;
  readonly clusters: ClusterRegistry;
  readonly fleet: Pick<Fleet, "blocks" | "events">;
  readonly metrics: Pick<Metrics, "routes">;
  readonly logger: Logger;
}

/** The org, and the mirror of its state. */
export interface ComposedOrg {
  readonly org: Org;
  /** Undefined when there is to be none. */
  readonly mirror: StateMirror | undefined;
  /** To be started in their order. */
  readonly parts: readonly Part[];
}

/** Opens the org over the clusters and blocks of the fleet. */
export async function composeOrg(sources: OrgSources): Promise<ComposedOrg> {
  const { config, store, clusters, fleet, metrics, logger } = sources;
  const mirror = await openStateMirror(sources);
  const { orgId } = config;
  const unheard = await unheardClusters({
    bindings: new AgentBindings(store, orgId),
    snapshot: () => clusters.snapshot(orgId),
  });
  const org = await openOrg({
    ...{ store, orgId, clusters, unheard, mirror },
    ...{ blocks: fleet.blocks, events: fleet.events },
    ...{ metrics: metrics.routes.metrics, pace: new Pacer(), clock: systemClock },
    logger: logger.child({ component: "org" }),
  });
  const mirrored = mirror === undefined ? [] : [mirror];
  return { org, mirror, parts: [...mirrored, org.holds, org.aggregator, org.feed] };
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
