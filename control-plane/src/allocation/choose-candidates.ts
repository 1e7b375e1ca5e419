import type { ClusterView } from "../fleet/cluster-view.ts";
import type { Selection } from "./allocation-request.ts";
import type { Sight } from "./sight.ts";

/** A selection whose search, if it was one, has been ranked. */
export type RankedSelection =
  | Exclude<Selection, { kind: "search" }>
  | { readonly kind: "ranked"; readonly ranking: Ranking };

/** What a ranking policy made of the clusters that its filter found. */
export interface Ranking {
  /** The best ones in its order, at most as many as the search asked for. */
  readonly ids: readonly string[];
  /** Clusters that are no candidates, and why. */
  readonly dropped: readonly Dropped[];
}

/** A cluster that the policy could not choose. */
export interface Dropped {
  readonly id: string;
  /** For people: "unreachable", "the filter does not match". */
  readonly reason: string;
}

/** Clusters that the policy may choose from, those it may not, and what the client should know of that. */
export interface Candidates {
  readonly candidates: readonly ClusterView[];
  readonly dropped: readonly Dropped[];
  readonly warnings: readonly string[];
}

/**
 * The candidates of a request: the clusters that it names, or those of its filter or ranked search, or
 * every live one. Unreachable clusters are never candidates. A cluster without an agent is one only when
 * it was selected, with a warning. An empty pool is no error.
 */
export function chooseCandidates(selection: RankedSelection, sight: Sight): Candidates {
  switch (selection.kind) {
    case "all":
      return everyLive(sight);
    case "ids":
      return named(selection.ids, sight, "clusters");
    case "filter": {
      const { found, dropped } = applyFilter(selection.filter, sight);
      return withDropped(named(idsOf(found), sight, "filter"), dropped);
    }
    case "ranked": {
      const { ids, dropped } = selection.ranking;
      return withDropped(named(ids, sight, "search"), dropped);
    }
  }
}

/** The clusters that are not unreachable and match, and why the others do not. */
export function applyFilter(
  matches: (view: ClusterView) => boolean,
  sight: Sight,
): { readonly found: readonly ClusterView[]; readonly dropped: readonly Dropped[] } {
  const found: ClusterView[] = [];
  const dropped: Dropped[] = [];
  for (const view of sight.all()) {
    if (view.health === "unreachable") dropped.push({ id: view.id, reason: "unreachable" });
    else if (matches(view)) found.push(view);
    else dropped.push({ id: view.id, reason: "the filter does not match" });
  }
  return { found, dropped };
}

function everyLive(sight: Sight): Candidates {
  const candidates: ClusterView[] = [];
  const dropped: Dropped[] = [];
  for (const view of sight.all()) {
    if (view.health === "live") candidates.push(view);
    else if (view.health === "unreachable") dropped.push({ id: view.id, reason: "unreachable" });
    else dropped.push({ id: view.id, reason: "no agent; select it to have it considered" });
  }
  return { candidates, dropped, warnings: [] };
}

function named(ids: readonly string[], sight: Sight, field: string): Candidates {
  const candidates: ClusterView[] = [];
  const dropped: Dropped[] = [];
  const warnings: string[] = [];
  for (const id of ids) {
    const view = sight.get(id);
    if (view === undefined) {
      warnings.push(`${field}: there is no cluster ${id}`);
      dropped.push({ id, reason: "there is no such cluster" });
    } else if (view.health === "unreachable") {
      warnings.push(`${field}: cluster ${id} is unreachable`);
      dropped.push({ id, reason: "unreachable" });
    } else {
      candidates.push(view);
      if (view.health === "unknown") {
        warnings.push(`${field}: cluster ${id} has no agent; nothing tells whether it is alive`);
      }
    }
  }
  return { candidates, dropped, warnings };
}

function withDropped(chosen: Candidates, dropped: readonly Dropped[]): Candidates {
  return { ...chosen, dropped: [...dropped, ...chosen.dropped] };
}

function idsOf(views: readonly ClusterView[]): readonly string[] {
  return views.map((view) => view.id);
}
