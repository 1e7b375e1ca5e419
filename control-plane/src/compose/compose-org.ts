import {
  type Config,
  type DocumentStore,
  type Logger,
  Pacer,
  systemClock,
} from "@berth/service-kit";
import type { ClusterRegistry } from "../fleet/cluster-registry.ts";
import { type Org, openOrg } from "../org/org.ts";
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

/** Opens the org, over the clusters and blocks of the fleet. */
export function composeOrg({ config, fleet, metrics, logger, ...rest }: OrgSources): Promise<Org> {
  return openOrg({
    ...{ ...rest, orgId: config.orgId, blocks: fleet.blocks, events: fleet.events },
    metrics: metrics.routes.metrics,
    ...{ pace: new Pacer(), clock: systemClock },
    logger: logger.child({ component: "org" }),
  });
}
