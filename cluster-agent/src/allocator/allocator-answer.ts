import { BerthError, isJsonObject, parseLossless, plainOf, typeName } from "@berth/service-kit";

/** What a policy answered to "where does this instance go?". */
export type AllocatorAnswer =
  | {
      readonly kind: "chosen";
      readonly nodeId: string;
      readonly gpuIds: unknown;
      readonly gpusField: "gpus" | "gpu_ids";
    }
  | { readonly kind: "unschedulable"; readonly reasons: readonly string[] };

const MAX_REASONS = 20;
const MAX_REASON_CHARACTERS = 500;

/**
 * Reads the result of an allocation, a scaling or a reassignment: `{node_id, gpus}`. Null, `{}` and a node of null mean
 * that there is no place; `reasons` may say why. POLICY_FAILED, with the policy and the field, for anything else.
 */
export function readAllocatorAnswer(uri: string, resultJson: string): AllocatorAnswer {
  const result = plainOf(parseLossless(resultJson));
  if (result === null) return nowhere(uri, undefined);
  if (!isJsonObject(result)) throw bad(uri, `expected an object, got ${typeName(result)}`);
  const { node_id: nodeId, gpus = result.gpu_ids, reasons } = result;
  if (nodeId === undefined || nodeId === null || nodeId === "") return nowhere(uri, reasons);
  if (typeof nodeId !== "string") {
    throw bad(uri, `node_id: expected the id of a node, got ${typeName(nodeId)}`);
  }
  const gpusField = result.gpus === undefined ? "gpu_ids" : "gpus";
  return { kind: "chosen", nodeId, gpuIds: gpus ?? [], gpusField };
}

/** What a policy answered to a dry run. */
export type DryRunAnswer =
  /** Its own result, numbers as it wrote them. */
  | { readonly kind: "scored"; readonly result: unknown }
  /** A place as for an allocation, without a score. */
  | { readonly kind: "placed"; readonly result: unknown; readonly answer: AllocatorAnswer };

/**
 * Reads the result of a dry run: `selection_score_data.score` is from 0 to 1; a result as of an allocation does too.
 * POLICY_FAILED, with the policy and the field, for anything else.
 */
export function readDryRunAnswer(uri: string, resultJson: string): DryRunAnswer {
  const result = parseLossless(resultJson);
  const plain = plainOf(result);
  if (plain === null) return { kind: "placed", result, answer: nowhere(uri, undefined) };
  if (!isJsonObject(plain)) throw bad(uri, `expected an object, got ${typeName(plain)}`);
  const data = plain.selection_score_data;
  if (data === undefined && (Object.keys(plain).length === 0 || "node_id" in plain)) {
    return { kind: "placed", result, answer: readAllocatorAnswer(uri, resultJson) };
  }
  if (!isJsonObject(data)) {
    throw bad(uri, `selection_score_data: expected an object, got ${typeName(data)}`);
  }
  const { score } = data;
  if (typeof score === "number" && score >= 0 && score <= 1) return { kind: "scored", result };
  const got = typeof score === "number" ? score : typeName(score);
  throw bad(uri, `selection_score_data.score: expected a number from 0 to 1, got ${got}`);
}

/** The result of a dry run that found no place, in the seed's shape. */
export function unplaced(reasons: readonly string[]) {
  return { selection_score_data: { score: 0, node_info: {}, reasons } } as const;
}

function nowhere(
  uri: string,
  reasons: unknown,
): Extract<AllocatorAnswer, { kind: "unschedulable" }> {
  const told = Array.isArray(reasons)
    ? reasons.slice(0, MAX_REASONS).map((one) => String(one).slice(0, MAX_REASON_CHARACTERS))
    : [];
  const fallback = [`policy ${uri} found no place`];
  return { kind: "unschedulable", reasons: told.length === 0 ? fallback : told };
}

function bad(uri: string, why: string): BerthError {
  return new BerthError("POLICY_FAILED", `policy ${uri} returned an invalid result: ${why}`);
}
