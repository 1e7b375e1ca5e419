import type { Pacer } from "@berth/service-kit";
import { type ScrapedProgram, ScrapeRegistry } from "@berth/service-kit";
import type { ClusterRegistry } from "../fleet/cluster-registry.ts";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { type FleetCounts, fleetCounts, NO_COUNTS, type ScrapedCluster } from "./scrape-counts.ts";
import { fleetFamilies, type OwnCounts, ownFamilies } from "./scrape-families.ts";

/** What {@link ControlPlaneScrape} needs. */
export interface ControlPlaneScrapeDeps {
  readonly program: ScrapedProgram;
  readonly clusters: Pick<ClusterRegistry, "snapshot">;
  /** Org whose fleet is told. */
  readonly orgId: string;
  readonly pace: Pacer;
  readonly own: OwnCounts;
}

/** What `GET /metrics` of the control-plane answers. */
export class ControlPlaneScrape {
  readonly registry: ScrapeRegistry;
  readonly #deps: ControlPlaneScrapeDeps;
  readonly #known = new WeakMap<ClusterView, ScrapedCluster>();
  #counts: FleetCounts = NO_COUNTS;

  constructor(deps: ControlPlaneScrapeDeps) {
    this.#deps = deps;
    this.registry = new ScrapeRegistry(deps.program);
    this.registry.add(...fleetFamilies(() => this.#counts), ...ownFamilies(deps.own));
    this.registry.addHistogram({
      name: "berth_allocation_seconds",
      help: "How long allocations took, in seconds.",
      observe: () => deps.own.allocations.seconds,
    });
  }

  /** Counts the fleet; right before a scrape. */
  async refresh(signal: AbortSignal): Promise<void> {
    const { clusters, orgId, pace } = this.#deps;
    const fleet = await clusters.snapshot(orgId);
    this.#counts = await pace.run(fleetCounts(fleet, this.#known), signal);
  }
}
