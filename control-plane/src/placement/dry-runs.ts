import { askAgent } from "../allocation/agent-asking.ts";
import type { AgentApi } from "../fleet/agent-api.ts";
import { type DryRunAnswer, readDryRun } from "./dry-run-answer.ts";
import type { TriedCluster } from "./placement-record.ts";

/** Times of dry runs. */
export interface DryRunTimes {
  /** Longest time that a cluster has, ms. */
  readonly deadlineMs: number;
  /** Time that the others have left once one cluster could take the block, ms. */
  readonly graceMs: number;
}

/** A policy of a block may take 10 s; it holds nobody up that has a place already. */
export const DRY_RUN_TIMES: DryRunTimes = { deadlineMs: 15_000, graceMs: 1_000 };

/** What a cluster said. */
export type DryRunOutcome =
  | { readonly kind: "fits"; readonly clusterId: string; readonly answer: DryRunAnswer }
  | { readonly kind: "refused"; readonly refused: TriedCluster };

/**
 * Asks clusters at the same time whether they could take a block; nothing is taken. Each has its deadline, and once one
 * could, the others have `graceMs`. The outcomes are in the order of the ids. Rejects only when the signal is aborted.
 */
export async function dryRuns(
  agents: AgentApi,
  { clusterIds, entryJson }: { readonly clusterIds: readonly string[]; readonly entryJson: string },
  { signal, times = DRY_RUN_TIMES }: { readonly signal: AbortSignal; readonly times?: DryRunTimes },
): Promise<readonly DryRunOutcome[]> {
  const enough = new AbortController();
  const ends = AbortSignal.any([signal, enough.signal]);
  const outcomes = new Map<string, DryRunOutcome>();
  let grace: NodeJS.Timeout | undefined;
  const asked = clusterIds.map(async (clusterId) => {
    const options = { timeoutMs: times.deadlineMs, signal: ends };
    const outcome = await dryRun(agents, { clusterId, entryJson }, options);
    outcomes.set(clusterId, outcome);
    if (outcome.kind === "fits") grace ??= setTimeout(() => enough.abort(), times.graceMs);
  });
  try {
    await Promise.all(asked);
  } catch (thrown) {
    signal.throwIfAborted();
    if (!enough.signal.aborted) throw thrown;
  } finally {
    clearTimeout(grace);
    enough.abort();
  }
  return clusterIds.map((clusterId) => {
    const refused = refusedBy(clusterId, "DEADLINE_EXCEEDED", "it did not answer in time");
    return outcomes.get(clusterId) ?? { kind: "refused", refused };
  });
}

/** Asks one cluster. Rejects only when the signal is aborted. */
export async function dryRun(
  agents: AgentApi,
  { clusterId, entryJson }: { readonly clusterId: string; readonly entryJson: string },
  options: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<DryRunOutcome> {
  const bodyJson = `{"action":"dry_run","block_data":${entryJson}}`;
  const request = { clusterId, method: "POST", path: "/executeAction", bodyJson } as const;
  const asked = await askAgent(agents, request, options);
  const refuse = (reason: string, message: string): DryRunOutcome => ({
    kind: "refused",
    refused: refusedBy(clusterId, reason, message),
  });
  if (asked.kind === "refused") return refuse(asked.refusal.reason, asked.refusal.message);
  if (asked.kind === "silent") {
    const { reason, message } = asked.error;
    // Of what the link says of an order nothing is about the block.
    return refuse(reason === "INVALID_ARGUMENT" ? "UNAVAILABLE" : reason, message);
  }
  const answer = readDryRun(asked.bodyJson);
  if (answer === undefined) return refuse("INTERNAL", "its answer is none to a dry run");
  if (answer.score > 0) return { kind: "fits", clusterId, answer };
  return refuse("UNSCHEDULABLE", answer.reasons.join("; ") || "it cannot take the block");
}

function refusedBy(clusterId: string, reason: string, message: string): TriedCluster {
  return { clusterId, step: "dry_run", reason, message };
}
