import {
  BerthError,
  isJsonObject,
  isRawNumber,
  parseLossless,
  type RawNumber,
  typeName,
} from "@berth/service-kit";
import { Type } from "typebox";
import { type ClusterFilter, parseFilter, parseSearch, type Search } from "./query/selection.ts";

/** The message as OpenAPI describes it; {@link parseAllocationRequest} is what checks it. */
export const AllocationBody = Type.Object({
  policy_rule_uri: Type.String(),
  inputs: Type.Unknown(),
  adhoc: Type.Optional(Type.Boolean()),
  clusters: Type.Optional(Type.Array(Type.String())),
  filter: Type.Optional(Type.Object({})),
  search: Type.Optional(Type.Object({})),
  parameters: Type.Optional(Type.Object({})),
  settings: Type.Optional(Type.Object({})),
  request_id: Type.Optional(Type.Union([Type.String(), Type.Number()])),
});

/** One request for a placement, as WebSocket and HTTP clients send it (seed "Resource Allocator"). */
export interface AllocationRequest {
  readonly policyRuleUri: string;
  /** Which clusters the policy may choose from. */
  readonly selection: Selection;
  /** `inputs` as JSON text, passed to the policy unchanged. */
  readonly inputsJson: string;
  /** Number of placements that the inputs ask for, when they hold a list of requests. */
  readonly requestCount: number | undefined;
  /** Parameters and settings with their numbers as written; override the policy's defaults. */
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly settings: Readonly<Record<string, unknown>>;
}

/** How the client selects candidates; ids win over a filter, a filter over a search. */
export type Selection =
  | { readonly kind: "all" }
  | { readonly kind: "ids"; readonly ids: readonly string[] }
  | { readonly kind: "filter"; readonly filter: ClusterFilter }
  | { readonly kind: "search"; readonly search: Search };

/**
 * Reads a request from the text that the client sent. Empty, null and missing are the same for every
 * optional field. Throws INVALID_ARGUMENT that names the field; the texts for missing fields are those
 * of the existing deployment.
 */
export function parseAllocationRequest(text: string): AllocationRequest {
  const message = parseMessage(text);
  refuseBlockMode(message);
  for (const field of ["policy_rule_uri", "inputs"]) {
    if (field in message && message[field] !== "") continue;
    throw new BerthError("INVALID_ARGUMENT", `Missing required fields: ${field}`);
  }
  const id = message.request_id;
  if (id !== undefined && id !== null && !isRequestId(id)) {
    const got = typeName(id);
    throw new BerthError("INVALID_ARGUMENT", `request_id: expected text or a number, got ${got}`);
  }
  const uri = message.policy_rule_uri;
  if (typeof uri !== "string") {
    const got = typeName(uri);
    throw new BerthError("INVALID_ARGUMENT", `policy_rule_uri: expected a string, got ${got}`);
  }
  return {
    policyRuleUri: uri,
    selection: selectionOf(message),
    inputsJson: JSON.stringify(message.inputs),
    requestCount: requestCount(message.inputs),
    parameters: optionalObject("parameters", message.parameters),
    settings: optionalObject("settings", message.settings),
  };
}

/** The client's `request_id` as it was written, when the text is JSON and has a usable one. */
export function requestIdOf(text: string): string | number | RawNumber | undefined {
  try {
    const message = parseLossless(text);
    const id = isJsonObject(message) ? message.request_id : undefined;
    return isRequestId(id) ? id : undefined;
  } catch {
    return undefined;
  }
}

function isRequestId(id: unknown): id is string | number | RawNumber {
  return typeof id === "string" || typeof id === "number" || isRawNumber(id);
}

function parseMessage(text: string): Record<string, unknown> {
  let message: unknown;
  try {
    message = parseLossless(text);
  } catch (cause) {
    const why =
      cause instanceof RangeError ? "it is nested too deeply" : (cause as SyntaxError).message;
    throw new BerthError("INVALID_ARGUMENT", `the request is not JSON: ${why}`, { cause });
  }
  if (!isJsonObject(message)) {
    const got = typeName(message);
    throw new BerthError("INVALID_ARGUMENT", `the request: expected a JSON object, got ${got}`);
  }
  return message;
}

function refuseBlockMode(message: Record<string, unknown>): void {
  if (message.adhoc || !("input" in message) || "policy_rule_uri" in message) return;
  throw new BerthError(
    "UNIMPLEMENTED",
    'block mode ({"input", "mode"}) is not served; send {"adhoc": true, "policy_rule_uri", "inputs"}',
  );
}

function selectionOf(message: Record<string, unknown>): Selection {
  const ids = clusterIds(message.clusters);
  const filter = optionalObject("filter", message.filter);
  const search = optionalObject("search", message.search);
  if (ids.length > 0) return { kind: "ids", ids };
  if (Object.keys(filter).length > 0) return { kind: "filter", filter: parseFilter(filter) };
  if (Object.keys(search).length > 0) return { kind: "search", search: parseSearch(search) };
  return { kind: "all" };
}

function clusterIds(value: unknown): readonly string[] {
  if (value === undefined || value === null || value === "") return [];
  const ids = typeof value === "string" ? [value] : value;
  if (!Array.isArray(ids)) {
    const got = typeName(value);
    throw new BerthError("INVALID_ARGUMENT", `clusters: expected an array, got ${got}`);
  }
  for (const [index, id] of ids.entries()) {
    if (typeof id === "string") continue;
    const message = `clusters[${index}]: expected a string, got ${typeName(id)}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  return [...new Set<string>(ids)];
}

function optionalObject(field: string, value: unknown): Readonly<Record<string, unknown>> {
  if (value === undefined || value === null || value === "") return {};
  if (isJsonObject(value)) return value;
  const message = `${field}: expected an object, got ${typeName(value)}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}

function requestCount(inputs: unknown): number | undefined {
  const requests = isJsonObject(inputs) ? inputs.requests : inputs;
  return Array.isArray(requests) ? requests.length : undefined;
}
