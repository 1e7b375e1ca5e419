import type { PolicyContexts } from "@berth/policy-sandbox";
import type { Config, DocumentStore, Logger, Part } from "@berth/service-kit";
import type { AllocatorDeps } from "../allocation/allocator.ts";
import type { DecisionLog } from "../allocation/decisions/decision-log.ts";
import type { Autoscaler } from "../autoscaler/autoscaler.ts";
import type { ClusterRegistry } from "../fleet/cluster-registry.ts";
import type { Org } from "../org/org.ts";
import type { settings } from "../settings.ts";
import { type AutoscalerSources, composeAutoscaler } from "./compose-autoscaler.ts";
import type { Fleet } from "./compose-fleet.ts";
import type { Metrics } from "./compose-metrics.ts";
import { composeOrg } from "./compose-org.ts";
import { openDeciding } from "./compose-placement.ts";
import type { ReadinessParts } from "./readiness.ts";

/** What {@link composeWorkings} are made from. */
export interface WorkingsSources {
  readonly config: Config<typeof settings>;
  readonly store: DocumentStore;
  /** Of what was decided. */
  readonly decisionStore: DocumentStore;
  readonly clusters: ClusterRegistry;
  readonly fleet: Fleet;
  readonly metrics: Metrics;
  readonly assumptions: AllocatorDeps["assumptions"];
  readonly running: AutoscalerSources["running"] & { readonly contexts: PolicyContexts };
  readonly decisions: Pick<DecisionLog, "record">;
  /** Keeps the records of allocations. */
  readonly allocations: Pick<DecisionLog, "record">;
  readonly logger: Logger;
}

/** What the control-plane decides with, and about. */
export interface Workings {
  readonly org: Org;
  readonly deciding: Awaited<ReturnType<typeof openDeciding>>;
  readonly autoscaler: Autoscaler;
  /** How the writes of the org, bus and mirror stand. */
  readonly status: () => Pick<ReadinessParts, "org" | "bus" | "mirror">;
  /** To be started in their order, behind those of `deciding`. */
  readonly parts: readonly Part[];
}

/** Opens the org, what decides for it, and what scales it: each uses the one before. */
export async function composeWorkings(sources: WorkingsSources): Promise<Workings> {
  const { clusters, assumptions, running, logger } = sources;
  const { org, mirror, parts } = await composeOrg(sources);
  const deciding = await openDeciding({
    ...{
      ...sources,
      books: org,
      holds: org.holds,
      choosing: { clusters, assumptions, ...running },
    },
    logger: logger.child({ component: "placement" }),
  });
  const scaling = await composeAutoscaler({ ...sources, ...deciding, org });
  return {
    ...{ org, deciding, autoscaler: scaling.autoscaler },
    status: () => ({
      ...{ org: org.transactions, bus: scaling.bus.status, mirror: mirror?.status },
    }),
    parts: [...scaling.parts, ...parts],
  };
}
