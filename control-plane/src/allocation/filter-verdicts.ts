import type { ClusterView } from "../fleet/cluster-view.ts";
import type { Dropped } from "./dropped.ts";
import { MAX_CLUSTER_STEPS, MAX_REQUEST_STEPS, QuerySteps } from "./query/query-steps.ts";
import { type ClusterFilter, isSelected } from "./query/selection.ts";
import { shortList } from "./short-list.ts";

const NO_MATCH = "the filter does not match";
const TOO_LONG_HERE = `the filter takes more than ${MAX_CLUSTER_STEPS} steps on it`;
const TOO_LONG_BEFORE = `the filter took all of its ${MAX_REQUEST_STEPS} steps on others`;
const TOO_LONG_REASONS = [TOO_LONG_HERE, TOO_LONG_BEFORE];

/** What a filter made of the clusters. */
export interface Filtered {
  readonly found: readonly ClusterView[];
  readonly dropped: readonly Dropped[];
  readonly warnings: readonly string[];
}

/** What the filter of one request makes of clusters: of one that has not changed it is found out once. */
export class FilterVerdicts {
  readonly #filter: ClusterFilter;
  readonly #field: string;
  readonly #known = new Map<string, { readonly view: ClusterView; readonly why: string | null }>();

  /** `field` is the one that the filter is from: warnings begin with it. */
  constructor(filter: ClusterFilter, field: string) {
    this.#filter = filter;
    this.#field = field;
  }

  /** Whether the verdict on each of the clusters is known. */
  areKnown(views: readonly ClusterView[]): boolean {
    return !views.some((view) => this.#isDue(view));
  }

  /** Finds out about the clusters of which nothing is known yet; pauses where others could have their turn. */
  *look(views: readonly ClusterView[]): Generator<void, void> {
    const steps = new QuerySteps();
    for (const view of views) {
      if (!this.#isDue(view)) continue;
      const verdict = yield* isSelected(this.#filter, view, steps);
      let why: string | null = null;
      if (verdict === false) why = NO_MATCH;
      else if (verdict !== true) why = steps.isSpent ? TOO_LONG_BEFORE : TOO_LONG_HERE;
      this.#known.set(view.id, { view, why });
      yield;
    }
  }

  /**
   * The clusters that are not unreachable and match, and why the others do not. Those on which the filter would
   * take too long are named in warnings. All of them have been looked at.
   */
  of(views: readonly ClusterView[]): Filtered {
    const found: ClusterView[] = [];
    const dropped: Dropped[] = [];
    for (const view of views) {
      const { id, health } = view;
      const why = this.#known.get(id)?.why;
      if (health === "unreachable") dropped.push({ id, reason: "unreachable" });
      else if (why === null) found.push(view);
      else dropped.push({ id, reason: why ?? NO_MATCH });
    }
    const tooLong = dropped.filter(({ reason }) => TOO_LONG_REASONS.includes(reason));
    const warnings = shortList(
      tooLong.map(({ id, reason }) => `${this.#field}: cluster ${id} is no candidate: ${reason}`),
      (count) =>
        `${this.#field}: ${count} more clusters are no candidates: it takes too many steps`,
    );
    return { found, dropped, warnings };
  }

  /** A view never changes: another one of the same cluster means that something has. */
  #isDue(view: ClusterView): boolean {
    return view.health !== "unreachable" && this.#known.get(view.id)?.view !== view;
  }
}
