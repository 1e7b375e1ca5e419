import { BerthError, type Clock, type Pacer, QueryRunner } from "@berth/service-kit";
import type { ClusterRegistry } from "../fleet/cluster-registry.ts";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { MetricsDocument } from "./global-metrics-document.ts";
import { type MetricsSum, MetricsSummer } from "./global-metrics-sum.ts";
import { compileMetricsQuery, type MetricsQuery } from "./metrics-query.ts";

/** What a client calls the filter, in messages. */
const FIELD = "query";

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
  readonly #queries: QueryRunner;
  /** What was made of views that are still there. */
  readonly #documents = new WeakMap<ClusterView, MetricsDocument>();

  constructor(deps: GlobalMetricsDeps) {
    this.#deps = deps;
    this.#queries = new QueryRunner(deps.pace);
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
  async query({ orgId, filter, signal }: MetricsRequest): Promise<readonly MetricsDocument[]> {
    const { mayMatch, matches } = compileMetricsQuery(filter, FIELD);
    const { clusters } = await this.#deps.clusters.snapshot(orgId);
    const looked = this.#looked([...clusters.values()], mayMatch);
    return await this.#queries.select({
      items: await this.#deps.pace.run(looked, signal),
      matches: (document) => matches(document as MetricsDocument),
      documentOf: (document) => document,
      field: FIELD,
      signal,
    });
  }

  /** The documents of clusters that a quick look leaves. */
  *#looked(
    views: readonly ClusterView[],
    mayMatch: MetricsQuery["mayMatch"],
  ): Generator<void, readonly MetricsDocument[]> {
    const left: MetricsDocument[] = [];
    for (const view of views) {
      const document = this.#documentOf(view);
      if (mayMatch(document)) left.push(document);
      yield;
    }
    return left;
  }

  /** Sums over the clusters that match; refuses as {@link query} does. */
  async aggregate(request: MetricsRequest): Promise<MetricsSum> {
    const found = await this.query(request);
    return await this.#deps.pace.run(summed(found), request.signal);
  }

  #documentOf(view: ClusterView): MetricsDocument {
    const known = this.#documents.get(view);
    if (known !== undefined) return known;
    const document = new MetricsDocument(view, this.#deps.clock);
    this.#documents.set(view, document);
    return document;
  }
}

function* summed(documents: readonly MetricsDocument[]): Generator<void, MetricsSum> {
  const summer = new MetricsSummer();
  for (const document of documents) {
    summer.add(document);
    yield;
  }
  return summer.result();
}
