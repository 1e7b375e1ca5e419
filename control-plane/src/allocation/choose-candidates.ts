import { BerthError, type Pacer } from "@berth/service-kit";
import type { ClusterView } from "../fleet/cluster-view.ts";
import type { Dropped } from "./dropped.ts";
import { type Filtered, FilterVerdicts } from "./filter-verdicts.ts";
import type { ClusterFilter } from "./query/selection.ts";
import type { Selection } from "./request-fields.ts";
import type { Sight } from "./sight.ts";

/** Longest look at what has changed since a filter was looked through, in ms. */
const MAX_LOOK_AGAIN_MS = 5_000;

/** A selection whose search, if it was one, has been ranked, and whose filter has been looked through. */
export type RankedSelection =
  | Exclude<Selection, { kind: "search" | "filter" }>
  | { readonly kind: "filtered"; readonly verdicts: FilterVerdicts }
  | { readonly kind: "ranked"; readonly ranking: Ranking };

/** What a ranking policy made of the clusters that its filter found. */
export interface Ranking {
  /** The best ones in its order, at most as many as the search asked for. */
  readonly ids: readonly string[];
  /** Clusters that are no candidates, and why. */
  readonly dropped: readonly Dropped[];
  readonly warnings: readonly string[];
}

/** Clusters that the policy may choose from, those it may not, and what the client should know of that. */
export interface Candidates {
  readonly candidates: readonly ClusterView[];
  readonly dropped: readonly Dropped[];
  readonly warnings: readonly string[];
}

/** What choosing goes by. */
export interface ChoosingScope {
  readonly sight: Sight;
  /** Lets others have their turn while a filter takes long. */
  readonly pacer: Pick<Pacer, "run">;
  /** Ends a filter that nobody waits for any more: what it is aborted with is thrown. */
  readonly signal: AbortSignal;
}

/**
 * The candidates of a request: the clusters that it names, or those of its filter or ranked search, or
 * every live one. Throws OVERLOADED when so much has changed since its filter was looked through that looking
 * again takes too long. Unreachable clusters are never candidates. A cluster without an agent is one only when
 * it was selected, with a warning. An empty pool is no error.
 */
export async function chooseCandidates(
  selection: RankedSelection,
  scope: ChoosingScope,
): Promise<Candidates> {
  const { sight } = scope;
  switch (selection.kind) {
    case "all":
      return everyLive(sight);
    case "ids":
      return named(selection.ids, sight, "clusters");
    case "filtered": {
      const { found, ...more } = await lookAgain(selection.verdicts, scope);
      return withMore(named(idsOf(found), sight, "filter"), more);
    }
    case "ranked": {
      const { ids, ...more } = selection.ranking;
      return withMore(named(ids, sight, "search"), more);
    }
  }
}

/** {@link FilterVerdicts} on every cluster, once. `field` is the one that the filter is from. */
export async function applyFilter(
  filter: ClusterFilter,
  { sight, pacer, signal }: ChoosingScope,
  field: string,
): Promise<Filtered> {
  const verdicts = new FilterVerdicts(filter, field);
  const views = sight.all();
  await pacer.run(verdicts.look(views), signal);
  return verdicts.of(views);
}

/** A filter that has been looked through, before any policy waits for it. */
export async function filterAhead(
  filter: ClusterFilter,
  { sight, pacer, signal }: ChoosingScope,
): Promise<RankedSelection> {
  const verdicts = new FilterVerdicts(filter, "filter");
  await pacer.run(verdicts.look(sight.all()), signal);
  return { kind: "filtered", verdicts };
}

/** What has changed since the filter was looked through is looked at again, while the policy's place is held. */
async function lookAgain(
  verdicts: FilterVerdicts,
  { sight, pacer, signal }: ChoosingScope,
): Promise<Filtered> {
  const views = sight.all();
  if (verdicts.areKnown(views)) return verdicts.of(views);
  const deadline = AbortSignal.timeout(MAX_LOOK_AGAIN_MS);
  try {
    await pacer.run(verdicts.look(views), AbortSignal.any([signal, deadline]));
  } catch (cause) {
    if (signal.aborted || !deadline.aborted) throw cause;
    const message =
      "filter: takes too long on clusters that change meanwhile; ask with fewer conditions";
    throw new BerthError("OVERLOADED", message, { cause });
  }
  return verdicts.of(views);
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

function withMore(
  chosen: Candidates,
  { dropped, warnings }: Pick<Candidates, "dropped" | "warnings">,
): Candidates {
  return {
    ...chosen,
    dropped: [...dropped, ...chosen.dropped],
    warnings: [...warnings, ...chosen.warnings],
  };
}

function idsOf(views: readonly ClusterView[]): readonly string[] {
  return views.map((view) => view.id);
}
