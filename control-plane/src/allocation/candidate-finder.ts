import { Pacer, type Principal, QueryRunner } from "@berth/service-kit";
import type { FleetSnapshot } from "../fleet/cluster-view.ts";
import type { Assumptions } from "./assumptions.ts";
import { type Candidates, chooseCandidates, filterAhead } from "./choose-candidates.ts";
import { FilterTurns } from "./filter-turns.ts";
import { type RankingDeps, rankClusters } from "./rank-clusters.ts";
import type { Selection } from "./request-fields.ts";
import { Sight } from "./sight.ts";

/** What {@link CandidateFinder} needs. */
export interface CandidateFinderDeps extends RankingDeps {
  readonly clusters: { snapshot(orgId: string): Promise<FleetSnapshot> };
  readonly assumptions: Assumptions;
}

/** The candidates of a selection, and the fleet that they were chosen from. */
export interface FoundCandidates extends Candidates {
  readonly sight: Sight;
}

/** The clusters that a selection names, for those who choose among them themselves. */
export class CandidateFinder {
  /** Runs the queries of policies; for those who give them clients. */
  readonly queries = new QueryRunner(new Pacer());
  readonly #deps: CandidateFinderDeps;
  readonly #filters = new FilterTurns();

  constructor(deps: CandidateFinderDeps) {
    this.#deps = deps;
  }

  /** The candidates as the fleet is now. Throws what a filter or the ranking policy of a search fails with. */
  async find(
    principal: Principal,
    selection: Selection,
    signal: AbortSignal,
  ): Promise<FoundCandidates> {
    const { clusters, assumptions } = this.#deps;
    const { newest } = assumptions;
    const sight = new Sight(await clusters.snapshot(principal.orgId), assumptions, newest);
    const scope = { sight, signal, pacer: this.#filters };
    if (selection.kind === "filter") {
      const filtered = await filterAhead(selection.filter, scope);
      return { ...(await chooseCandidates(filtered, scope)), sight };
    }
    if (selection.kind === "search") {
      const ranking = await rankClusters(
        selection.search,
        { ...scope, principal, queries: this.queries, draft: NO_DRAFT },
        this.#deps,
      );
      return { ...(await chooseCandidates({ kind: "ranked", ranking }, scope)), sight };
    }
    return { ...(await chooseCandidates(selection, scope)), sight };
  }
}

/** Nobody records how the candidates were ranked. */
const NO_DRAFT = { ranksBy: () => {}, found: () => {}, ranked: () => {} };
