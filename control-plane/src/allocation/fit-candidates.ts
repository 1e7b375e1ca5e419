import {
  limitsOf,
  type PolicyCaps,
  type PolicyKind,
  type ResidentInput,
  type Sandbox,
} from "@berth/policy-sandbox";
import type { ClusterView } from "../fleet/cluster-view.ts";
import type { Dropped } from "./dropped.ts";
import { shortList } from "./short-list.ts";

/** What the policy is given of candidates, and by which limits. */
export interface FitOptions {
  readonly sandbox: Pick<Sandbox, "unfitResidents">;
  readonly caps: PolicyCaps;
  readonly kind: PolicyKind;
  readonly residentOf: (views: readonly ClusterView[]) => ResidentInput;
}

/** Candidates whose documents a worker can hold, the documents, and what is said of the others. */
export interface FitCandidates {
  readonly candidates: readonly ClusterView[];
  readonly resident: ResidentInput;
  readonly dropped: readonly Dropped[];
  readonly warnings: readonly string[];
}

/**
 * Leaves out the clusters whose documents are too large for a policy worker, or nested too deeply: one such
 * cluster must not fail the decisions about all others.
 */
export function fitCandidates(
  candidates: readonly ClusterView[],
  { sandbox, caps, kind, residentOf }: FitOptions,
): FitCandidates {
  const resident = residentOf(candidates);
  const unfit = sandbox.unfitResidents(resident, limitsOf(kind, caps));
  if (unfit.length === 0) return { candidates, resident, dropped: [], warnings: [] };
  const dropped = unfit.map(({ id, message }) => {
    return { id, reason: `its documents do not fit a policy worker: ${message}` };
  });
  const gone = new Set(unfit.map(({ id }) => id));
  const fit = candidates.filter(({ id }) => !gone.has(id));
  const warnings = shortList(
    dropped.map(({ id, reason }) => `cluster ${id} is no candidate: ${reason}`),
    (count) => `${count} more clusters are no candidates: their documents do not fit either`,
  );
  return { candidates: fit, resident: residentOf(fit), dropped, warnings };
}
