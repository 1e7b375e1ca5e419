import type { Clock, DocumentStore, Logger, Pacer, Part } from "@berth/service-kit";
import type { FleetBlocks } from "../fleet/agent-api.ts";
import type { ClusterRegistry } from "../fleet/cluster-registry.ts";
import type { FleetEvents } from "../fleet/fleet-events.ts";
import type { GlobalMetrics } from "../metrics/global-metrics.ts";
import { HoldCharges } from "./charges/hold-charges.ts";
import { type OrgBooks, openOrgBooks } from "./org-books.ts";
import { MetricsReport } from "./report/metrics-report.ts";
import { ReportFeed } from "./report/report-feed.ts";
import type { StateMirror } from "./store/state-mirror.ts";
import { SubjectUsage } from "./usage/subject-usage.ts";
import { usageAggregator } from "./usage/usage-aggregator.ts";
import { UsageBook } from "./usage/usage-book.ts";

/** What the control-plane knows of its org: who may use how much, and who uses what. */
export interface Org extends OrgBooks {
  readonly id: string;
  /** What was reported by the webhook. */
  readonly reported: UsageBook;
  readonly usage: SubjectUsage;
  readonly report: MetricsReport;
  readonly feed: ReportFeed;
  readonly holds: HoldCharges;
  /** Clusters that had an agent before this program's start, and were not heard since. */
  readonly unheard: OrgDeps["unheard"];
  /** Compares what is seen with what is desired. */
  readonly aggregator: Part;
}

/** What {@link openOrg} needs. */
export interface OrgDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly clusters: Pick<ClusterRegistry, "snapshot">;
  /** Clusters that had an agent before this program's start, and were not heard since. */
  readonly unheard: () => Promise<readonly string[]>;
  readonly blocks: FleetBlocks;
  readonly metrics: Pick<GlobalMetrics, "query">;
  readonly events: Pick<FleetEvents, "record">;
  readonly mirror?: StateMirror | undefined;
  readonly pace: Pacer;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Opens what the store knows of the org; feed and aggregator are parts that are to be started. */
export async function openOrg(deps: OrgDeps): Promise<Org> {
  const { orgId, logger } = deps;
  const { quotas, subjects, charges, transactions } = await openOrgBooks(deps);
  const reported = new UsageBook();
  const usage = new SubjectUsage({ ...deps, book: reported, quotas });
  const report = new MetricsReport({ ...deps, quotas, charges, subjects, usage });
  const feed = new ReportFeed({ report: () => report.text(), logger });
  quotas.onChange(() => feed.changed());
  const aggregator = usageAggregator({ ...deps, usage, quotas });
  const books = { quotas, subjects, charges, transactions };
  const snapshot = () => deps.clusters.snapshot(orgId);
  const holds = new HoldCharges({ ...deps, books, snapshot });
  const { unheard } = deps;
  return { id: orgId, ...books, reported, usage, report, feed, holds, unheard, aggregator };
}
