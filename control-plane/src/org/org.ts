import type { Clock, DocumentStore, Logger, Pacer } from "@berth/service-kit";
import type { FleetBlocks } from "../fleet/agent-api.ts";
import type { ClusterRegistry } from "../fleet/cluster-registry.ts";
import type { FleetEvents } from "../fleet/fleet-events.ts";
import type { GlobalMetrics } from "../metrics/global-metrics.ts";
import { QuotaBook } from "./quotas/quota-book.ts";
import { MetricsReport } from "./report/metrics-report.ts";
import { ReportFeed } from "./report/report-feed.ts";
import { SubjectBook } from "./subjects/subject-book.ts";
import { SubjectUsage } from "./usage/subject-usage.ts";
import { usageAggregator } from "./usage/usage-aggregator.ts";
import { UsageBook } from "./usage/usage-book.ts";

/** What the control-plane knows of its org: who may use how much, and who uses what. */
export interface Org {
  readonly id: string;
  readonly quotas: QuotaBook;
  readonly subjects: SubjectBook;
  /** What was reported by the webhook. */
  readonly reported: UsageBook;
  readonly usage: SubjectUsage;
  readonly report: MetricsReport;
  readonly feed: ReportFeed;
  /** Compares what is seen with what is desired. */
  readonly aggregator: ReturnType<typeof usageAggregator>;
}

/** What {@link openOrg} needs. */
export interface OrgDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly clusters: Pick<ClusterRegistry, "snapshot">;
  readonly blocks: FleetBlocks;
  readonly metrics: Pick<GlobalMetrics, "query">;
  readonly events: Pick<FleetEvents, "record">;
  readonly pace: Pacer;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Opens what the store knows of the org; feed and aggregator are parts that are to be started. */
export async function openOrg(deps: OrgDeps): Promise<Org> {
  const { orgId, logger } = deps;
  const quotas = new QuotaBook(deps);
  const subjects = new SubjectBook(deps);
  await Promise.all([quotas.load(), subjects.load()]);
  const reported = new UsageBook();
  const usage = new SubjectUsage({ ...deps, book: reported, quotas });
  const report = new MetricsReport({ ...deps, quotas, subjects, usage });
  const feed = new ReportFeed({ report: () => report.text(), logger });
  quotas.onChange(() => feed.changed());
  const aggregator = usageAggregator({ ...deps, usage, quotas });
  return { id: orgId, quotas, subjects, reported, usage, report, feed, aggregator };
}
