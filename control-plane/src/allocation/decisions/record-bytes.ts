import type { DecisionRecord } from "./decision-record.ts";

/** Field names, ids, digests and times of a record. */
const FRAME_BYTES = 800;
/** The same for what ranked. */
const RANKING_BYTES = 250;

/** Bytes of a record as JSON, roughly, without what it shares with most others when it is `Partial`. */
export function recordBytes(
  record: Omit<DecisionRecord, "candidates" | "dropped" | "dropped_more"> &
    Partial<Pick<DecisionRecord, "candidates" | "dropped">>,
): number {
  const { policy_log, data, data_cut, error, warnings, candidates = [], dropped = [] } = record;
  let bytes = FRAME_BYTES + policy_log.length + JSON.stringify(data).length;
  if (record.ranking !== undefined) bytes += RANKING_BYTES + record.ranking.policy_log.length;
  bytes += (data_cut === undefined ? 0 : lengthOf(data_cut.cluster_ids)) + lengthOf(warnings);
  bytes += error?.message.length ?? 0;
  for (const { id, reason } of dropped) bytes += id.length + reason.length + 20;
  return bytes + lengthOf(candidates);
}

function lengthOf(texts: readonly string[]): number {
  let length = 0;
  for (const text of texts) length += text.length + 3;
  return length;
}
