import type { ClusterView, FleetSnapshot } from "../fleet/cluster-view.ts";
import type { Assumptions } from "./assumptions.ts";

/**
 * What one decision sees of the fleet: every cluster at one moment, with what recent answers gave away.
 * Whatever the decision asks, however late, is answered from here.
 */
export class Sight {
  /** Revision of the inventory that is seen. */
  readonly revision: number;
  /** Number of the newest decision when the fleet was about to be looked at: what that assumed is seen. */
  readonly newestDecision: number;
  readonly #snapshot: FleetSnapshot;
  readonly #assumptions: Assumptions;
  readonly #seen = new Map<string, ClusterView>();

  constructor(snapshot: FleetSnapshot, assumptions: Assumptions, newestDecision: number) {
    this.#snapshot = snapshot;
    this.#assumptions = assumptions;
    this.revision = snapshot.revision;
    this.newestDecision = newestDecision;
  }

  /** One cluster; undefined when there is none of that id. */
  get(id: string): ClusterView | undefined {
    const seen = this.#seen.get(id);
    if (seen !== undefined) return seen;
    const view = this.#snapshot.clusters.get(id);
    if (view === undefined) return undefined;
    const overlaid = this.#assumptions.overlay(view);
    this.#seen.set(id, overlaid);
    return overlaid;
  }

  /** Every cluster, in the order of the ids. */
  all(): readonly ClusterView[] {
    return [...this.#snapshot.clusters.keys()].flatMap((id) => this.get(id) ?? []);
  }
}
