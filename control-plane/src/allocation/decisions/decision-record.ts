import type { Dropped } from "../dropped.ts";
import { chosenClusters } from "./chosen-clusters.ts";
import type { DataCut } from "./recorded-data.ts";

/** How a decision ended. */
export type DecisionOutcome = "placed" | "unschedulable" | "failed";

/** What is kept of every allocation: who asked what of which policy, what it saw, what it said. */
export interface DecisionRecord {
  /** UUIDv7: later decisions have greater ids. */
  readonly decision_id: string;
  /** ISO 8601. */
  readonly decided_at: string;
  readonly outcome: DecisionOutcome;
  readonly policy_rule_uri: string;
  /** SHA-256 of the policy's code; null when there is no such policy. */
  readonly policy_digest: string | null;
  /** SHA-256 of `inputs` as JSON text; the inputs themselves are not kept. */
  readonly inputs_digest: string;
  readonly selection: "all" | "ids" | "filter" | "search";
  /** What ranked the candidates; absent without a `search`. */
  readonly ranking?: RankingRecord;
  /** Revision of the inventory that was looked at last; null when none was. */
  readonly inventory_revision: number | null;
  /** Clusters that the policy could choose from; those to be ranked when it failed before they were. */
  readonly candidates: readonly string[];
  /** Clusters that it could not choose, and why. */
  readonly dropped: readonly Dropped[];
  /** Clusters that are left out of `dropped` because there are so many. */
  readonly dropped_more: number;
  readonly warnings: readonly string[];
  /** The placement, or why there is none; null when the decision failed. Of more than 16 KiB the beginning. */
  readonly data: unknown;
  /** What the whole was; absent when `data` is the whole. */
  readonly data_cut?: DataCut;
  readonly error: { readonly reason: string; readonly message: string } | null;
  /** Runs of the policy: more than one when others were given the same GPUs meanwhile, 0 when it had none. */
  readonly attempts: number;
  /** Seconds for which the chosen GPUs count as taken. */
  readonly assume_seconds: number;
  readonly timings_ms: DecisionTimings;
  /** stdout, stderr and logging of the policy, the first 16 KiB. */
  readonly policy_log: string;
}

/** The part of a search's ranking policy in a decision. */
export interface RankingRecord {
  readonly policy_rule_uri: string;
  /** SHA-256 of its code; null when there is no such policy. */
  readonly policy_digest: string | null;
  /** Null when it did not run. */
  readonly timings_ms: RunTimings | null;
  /** What it printed, the first 16 KiB. */
  readonly policy_log: string;
}

/** Where the time of a decision went, in ms: all of it, and the part of the policy that chose. */
export interface DecisionTimings extends RunTimings {
  readonly total: number;
}

/** Where the time of a policy's runs went, in ms. */
export interface RunTimings {
  /** Waiting for a worker. */
  readonly queued: number;
  /** In the policy, host calls included. */
  readonly policy: number;
  /** CPU time of the policy. */
  readonly policy_cpu: number;
}

/** Which decisions {@link DecisionLog.list} gives. */
export interface DecisionQuery {
  readonly policyRuleUri?: string;
  /** Cluster that was chosen. */
  readonly clusterId?: string;
  readonly outcome?: DecisionOutcome;
  /** Only decisions before the one of this id. */
  readonly before?: string;
  /** 1-1,000. */
  readonly limit: number;
}

/** Whether a record is asked for. */
export function isAskedFor(
  record: Pick<DecisionRecord, "policy_rule_uri" | "outcome" | "data" | "data_cut">,
  query: DecisionQuery,
): boolean {
  const { policyRuleUri, clusterId, outcome } = query;
  return (
    (policyRuleUri === undefined || record.policy_rule_uri === policyRuleUri) &&
    (outcome === undefined || record.outcome === outcome) &&
    (clusterId === undefined || clustersOf(record).includes(clusterId))
  );
}

function clustersOf({
  data,
  data_cut,
}: Pick<DecisionRecord, "data" | "data_cut">): readonly unknown[] {
  return data_cut?.cluster_ids ?? chosenClusters(data);
}
