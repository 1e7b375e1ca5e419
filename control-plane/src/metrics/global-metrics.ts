import type { Pacer } from "@berth/service-kit";
import { BerthError, type Clock } from "@berth/service-kit";
import type { ClusterRegistry } from "../fleet/cluster-registry.ts";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { MetricsDocument } from "./global-metrics-document.ts";
import { type MetricsSum, MetricsSummer } from "./global-metrics-sum.ts";
import { compileMetricsQuery, type MetricsQuery } from "./metrics-query.ts";
import { QueryBudget } from "./metrics-query-cost.ts";

/** What {@link GlobalMetrics} needs. */
export interface GlobalMetricsDeps {
  readonly clusters: Pick<ClusterRegistry, "snapshot">;
  /** Lets others have their turn while a query looks at many clusters. */
  readonly pace: Pacer;
  readonly clock: Clock;
}

/** A filter over the clusters of an org. */
export interface MetricsRequest {
  readonly orgId: string;
  /** MongoDB-style, over metrics documents. */
  readonly filter: unknown;
  /** Ends the work when nobody waits for it any more. */
  readonly signal: AbortSignal;
}

/**
 * The metrics of all clusters: each one's nested document with totals, those that match a filter, and sums
 * over them. Answers come from one moment.
 */
export class GlobalMetrics {
  readonly #deps: GlobalMetricsDeps;
  /** What was made of views that are still there. */
  readonly #documents = new WeakMap<ClusterView, MetricsDocument>();

  constructor(deps: GlobalMetricsDeps) {
    this.#deps = deps;
  }

  /** Metrics of one cluster; NOT_FOUND when there is none. */
  async cluster(orgId: string, id: string): Promise<MetricsDocument> {
    const { clusters } = await this.#deps.clusters.snapshot(orgId);
    const view = clusters.get(id);
    if (view !== undefined) return this.#documentOf(view);
    throw new BerthError("NOT_FOUND", `cluster not found: ${id}`, { details: { cluster_id: id } });
  }

  /**
   * Metrics of the clusters that match, in the order of their ids. INVALID_ARGUMENT for a bad filter, and for
   * one that would take too long.
   */
  async query(request: MetricsRequest): Promise<readonly MetricsDocument[]> {
    const found: MetricsDocument[] = [];
    await this.#eachMatch(request, (document) => found.push(document));
    return found;
  }

  /** Sums over the clusters that match; refuses as {@link query} does. */
  async aggregate(request: MetricsRequest): Promise<MetricsSum> {
    const summer = new MetricsSummer();
    await this.#eachMatch(request, (document) => summer.add(document));
    return summer.result();
  }

  async #eachMatch(
    { orgId, filter, signal }: MetricsRequest,
    visit: (document: MetricsDocument) => void,
  ): Promise<void> {
    const query = compileMetricsQuery(filter);
    const { clusters } = await this.#deps.clusters.snapshot(orgId);
    await this.#deps.pace.run(this.#matching([...clusters.values()], query, visit), signal);
  }

  *#matching(
    views: readonly ClusterView[],
    { first, firstSteps, rest, restWeight }: MetricsQuery,
    visit: (document: MetricsDocument) => void,
  ): Generator<void, void> {
    const budget = new QueryBudget();
    for (const view of views) {
      const document = this.#documentOf(view);
      budget.take(firstSteps, view.id);
      if (first(document.fields)) {
        if (rest !== undefined) budget.take(restWeight * document.characters, view.id);
        if (rest === undefined || rest(document.fields)) visit(document);
      }
      yield;
    }
  }

  #documentOf(view: ClusterView): MetricsDocument {
    const known = this.#documents.get(view);
    if (known !== undefined) return known;
    const document = new MetricsDocument(view, this.#deps.clock);
    this.#documents.set(view, document);
    return document;
  }
}
