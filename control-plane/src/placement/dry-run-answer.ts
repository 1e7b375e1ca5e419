import { isJsonObject, itemsOf, memberOf, toNumber, valueAt, wholeOf } from "@berth/service-kit";
import { parsed } from "../allocation/agent-asking.ts";
import type { InstancePlace } from "./placement-record.ts";

/** What a cluster answered to "could you take this block?". */
export interface DryRunAnswer {
  /** 0: it cannot. */
  readonly score: number;
  /** Where the instances would go, as far as it says so. */
  readonly places: readonly InstancePlace[];
  /** Why not, for people. */
  readonly reasons: readonly string[];
  /** The whole answer, JSON text as the cluster wrote it. */
  readonly dataJson: string;
}

/** Reads the body of a dry run; undefined when it is none. */
export function readDryRun(bodyJson: string): DryRunAnswer | undefined {
  if (!isJsonObject(parsed(bodyJson))) return undefined;
  const data = valueAt(bodyJson, ["data"]);
  if (data === undefined) return undefined;
  const dataJson = bodyJson.slice(data.start, data.end);
  const plain: unknown = JSON.parse(dataJson);
  const told = isJsonObject(plain) ? plain.selection_score_data : undefined;
  if (!isJsonObject(plain) || !isJsonObject(told)) return undefined;
  const score = toNumber(told.score);
  if (score === undefined || !(score >= 0 && score <= 1)) return undefined;
  const reasons = [told.reasons, plain.reasons].find(Array.isArray) ?? [];
  const places = score === 0 ? [] : placesOf(dataJson);
  return { score, places, reasons: reasons.map(String), dataJson };
}

/** All places where the cluster names them, else the one of the first instance. */
function placesOf(dataJson: string): readonly InstancePlace[] {
  const list =
    valueAt(dataJson, ["selection_score_data", "placements"]) ?? valueAt(dataJson, ["placements"]);
  if (list !== undefined && dataJson[list.start] === "[") {
    return itemsOf(dataJson, list).flatMap(({ start, end }) => placeOf(dataJson.slice(start, end)));
  }
  const first = valueAt(dataJson, ["selection_score_data", "node_info"]);
  return first === undefined ? [] : placeOf(dataJson.slice(first.start, first.end));
}

/** GPUs stay as they were written: the cluster reads them again. */
function placeOf(json: string): readonly InstancePlace[] {
  const place: unknown = JSON.parse(json);
  if (!isJsonObject(place)) return [];
  const { node_id: nodeId } = place;
  if (typeof nodeId !== "string" || nodeId === "") return [];
  const gpus = memberOf(json, wholeOf(json), "gpus") ?? memberOf(json, wholeOf(json), "gpu_ids");
  const gpusJson = gpus === undefined ? "[]" : json.slice(gpus.start, gpus.end);
  return [{ nodeId, gpusJson: gpusJson === "null" ? "[]" : gpusJson }];
}
