import type { ClusterView } from "../fleet/cluster-view.ts";
import type { TriedCluster } from "./placement-record.ts";
import type { PlacementRequest } from "./placement-request.ts";

/** What is known of who may come back. */
export interface ReturnScope {
  readonly selection: PlacementRequest["selection"];
  /** Clusters that had an agent when this control-plane was started. */
  readonly known: ReadonlySet<string>;
  /** The control-plane was started a moment ago: its agents are on their way back. */
  readonly isEarly: boolean;
  /** A cluster as it was looked at; undefined when there is none. */
  readonly viewOf: (clusterId: string) => ClusterView | undefined;
  /** On the clock of the views. */
  readonly nowMs: number;
}

/** A cluster that was heard so recently is taken to come back, ms. */
const RECENT_MS = 60_000;
const NOT_BACK = "its agent was not heard since the control-plane was started";

/**
 * The clusters that did not take a block, marked with `mayReturn` where that is because they are away for the moment; with
 * those of the selection that were not heard since a start that was just now. Of a filter nobody knows whether they match. Pure.
 */
export function withReturning(
  refused: readonly TriedCluster[],
  scope: ReturnScope,
): readonly TriedCluster[] {
  const { selection, known, isEarly, viewOf } = scope;
  const told = new Set(refused.map(({ clusterId }) => clusterId));
  const isWanted = (id: string) => selection.kind !== "ids" || selection.ids.includes(id);
  const absent = [...known].filter((id) => {
    const { health = "unknown" } = viewOf(id) ?? {};
    return isEarly && !told.has(id) && isWanted(id) && health === "unknown";
  });
  const all = [...refused, ...absent.map(notBack)];
  return all.map((one) => (mayReturn(one, scope) ? { ...one, mayReturn: true } : one));
}

function notBack(clusterId: string): TriedCluster {
  return { clusterId, step: "view", reason: "UNAVAILABLE", message: NOT_BACK };
}

function mayReturn(
  { clusterId, step, reason }: TriedCluster,
  { known, isEarly, viewOf, nowMs }: ReturnScope,
): boolean {
  if (step !== "view" || reason !== "UNAVAILABLE") return false;
  const { health = "unknown", reportedAtMs = null } = viewOf(clusterId) ?? {};
  if (health === "live") return true;
  if (health === "unknown") return isEarly && known.has(clusterId);
  return isEarly || (reportedAtMs !== null && nowMs - reportedAtMs < RECENT_MS);
}
