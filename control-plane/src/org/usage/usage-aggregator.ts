import { type Clock, type Logger, type Part, Recurring } from "@berth/service-kit";
import type { FleetEvents } from "../../fleet/fleet-events.ts";
import type { QuotaBook } from "../quotas/quota-book.ts";
import { DriftWatch } from "./replica-drift.ts";
import type { SubjectUsage } from "./subject-usage.ts";

/** What {@link usageAggregator} works with. */
export interface UsageAggregatorDeps {
  readonly orgId: string;
  readonly usage: Pick<SubjectUsage, "observer">;
  readonly quotas: Pick<QuotaBook, "all">;
  readonly events: Pick<FleetEvents, "record">;
  readonly clock: Pick<Clock, "nowMs">;
  readonly logger: Logger;
  readonly watch?: DriftWatch;
  /** Time between two looks, ms; 5 s by default. */
  readonly intervalMs?: number;
}

const INTERVAL_MS = 5_000;

/**
 * Looks again and again whether as many replicas are seen as are desired, and tells of what stays different as the event
 * `replica_drift`. What is desired it never writes: that is the users' and the autoscaler's.
 */
export function usageAggregator(deps: UsageAggregatorDeps): Part {
  const { orgId, usage, quotas, events, clock, logger, intervalMs = INTERVAL_MS } = deps;
  const { watch = new DriftWatch() } = deps;
  const look = async () => {
    const observedOf = await usage.observer();
    const all = quotas.all().map((kept) => ({ quota: kept.quota, observed: observedOf(kept) }));
    for (const drift of watch.look(all, clock.nowMs())) {
      const { quotaId, subjectId, desired, observed, forSeconds } = drift;
      const facts = { quota_id: quotaId, subject_id: subjectId, desired, observed };
      events.record({
        ...{ orgId, clusterId: "", kind: "replica_drift", key: `quota/${quotaId}` },
        facts: { ...facts, for_seconds: forSeconds },
      });
    }
  };
  return new Recurring({
    ...{ name: "usage aggregator", everyMs: intervalMs, task: look },
    onFailure: (err) => logger.error("replicas were not compared", { err }),
  });
}
