import { createHash } from "node:crypto";
import type { DecisionRecord } from "../allocation/decisions/decision-record.ts";
import { unknownBlockPolicy } from "./cluster-chooser.ts";
import type { PlacementRecord } from "./placement-record.ts";
import type { PlacementRequest } from "./placement-request.ts";

/** What decisions name as their policy when none decided. */
export const HIGHEST_SCORE = "built-in:highest-score";

/** The record of a placement that is over, as other decisions have theirs. */
export function placementDecision(
  record: PlacementRecord,
  request: Pick<PlacementRequest, "selection" | "ranking" | "blockPolicy" | "entryJson">,
): DecisionRecord {
  const { current, tried, error } = record;
  const { selection, entryJson } = request;
  const asked = new Set(tried.filter(({ step }) => step !== "view").map((one) => one.clusterId));
  for (const { clusterId } of record.queue) asked.add(clusterId);
  if (current !== undefined) asked.add(current.clusterId);
  const isPlaced = record.phase === "done";
  const isUnschedulable = error?.reason === "UNSCHEDULABLE";
  const totalMs = Date.parse(record.updatedAt) - Date.parse(record.createdAt);
  return {
    decision_id: record.decisionId,
    decided_at: record.createdAt,
    outcome: isPlaced ? "placed" : isUnschedulable ? "unschedulable" : "failed",
    policy_rule_uri: deciderOf(record, request),
    policy_digest: null,
    inputs_digest: createHash("sha256").update(entryJson).digest("hex"),
    selection: selection.kind,
    inventory_revision: null,
    candidates: [...asked],
    dropped: tried.map(({ clusterId: id, step, reason, message }) => {
      return { id, reason: `${step}: ${reason}: ${message}` };
    }),
    dropped_more: record.triedMore,
    warnings: record.warnings,
    data: isPlaced || isUnschedulable ? dataOf(record) : null,
    error: error === undefined || isUnschedulable ? null : error,
    attempts: record.attempts,
    assume_seconds: 0,
    timings_ms: {
      total: Number.isFinite(totalMs) ? totalMs : 0,
      queued: 0,
      policy: 0,
      policy_cpu: 0,
    },
    policy_log: "",
  };
}

function deciderOf(
  { warnings }: PlacementRecord,
  { ranking, blockPolicy }: Pick<PlacementRequest, "ranking" | "blockPolicy">,
): string {
  if (ranking !== undefined) return ranking.policyRuleUri;
  if (blockPolicy === undefined) return HIGHEST_SCORE;
  const { policyRuleUri: uri } = blockPolicy;
  return warnings.includes(unknownBlockPolicy(uri)) ? HIGHEST_SCORE : uri;
}

function dataOf({ id, blockId, current, phase, error }: PlacementRecord): object {
  const names = { block_id: blockId, placement_id: id };
  if (phase !== "done" || current === undefined) {
    return { cluster_id: null, unschedulable: true, reasons: [error?.message ?? ""], ...names };
  }
  const [first] = current.places;
  const place =
    first === undefined ? {} : { node_id: first.nodeId, gpus: JSON.parse(first.gpusJson) };
  return { cluster_id: current.clusterId, ...place, score: current.score, ...names };
}
