import {
  BerthError,
  boundMessage,
  exceededBound,
  isJsonObject,
  isRawNumber,
  MAX_JSON_DEPTH,
  memberOf,
  parseClientJson,
  parseLossless,
  type RawNumber,
  spliced,
  toNumber,
  typeName,
  wholeOf,
} from "@berth/service-kit";
import { Type } from "typebox";
import { type ClusterFilter, parseFilter, parseSearch, type Search } from "./query/selection.ts";
import { requestCount } from "./request-count.ts";
import { valueName } from "./value-name.ts";

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
  assume_seconds: Type.Optional(Type.Number({ minimum: 0, maximum: 300 })),
  hold: Type.Optional(
    Type.Union([Type.Boolean(), Type.Object({ ttl_ms: Type.Optional(Type.Integer()) })]),
  ),
});

/** Longest time for which a placement is assumed, in s. */
export const MAX_ASSUME_SECONDS = 300;
const MAX_CLUSTER_IDS = 10_000;
const MAX_ID_CHARACTERS = 253;
/** What is read value by value: everything but the inputs. The existing clients send far less. */
const FIELD_BOUNDS = { depth: MAX_JSON_DEPTH, values: 100_000 };
const MAX_HOLD_MS = 24 * 60 * 60 * 1_000;

/** A `request_id` as the client wrote it. */
export type RequestId = string | number | RawNumber;

/** A message of a client, read but not checked. */
export interface AllocationFrame {
  /** To be echoed in the reply; undefined when the message has no usable one. */
  readonly requestId: RequestId | undefined;
  /**
   * The request in it. Empty, null and missing are the same for every optional field. Throws
   * INVALID_ARGUMENT that names the field; the texts for missing fields are those of the existing
   * deployment.
   */
  readonly request: () => AllocationRequest;
}

/** One request for a placement, as WebSocket and HTTP clients send it (seed "Resource Allocator"). */
export interface AllocationRequest {
  readonly policyRuleUri: string;
  /** Which clusters the policy may choose from. */
  readonly selection: Selection;
  /** `inputs` as the client wrote them, passed to the policy unchanged. */
  readonly inputsJson: string;
  /** Number of placements asked for, when the inputs hold a list of `requests`. */
  readonly requestCount: number | undefined;
  /** Parameters and settings with their numbers as written; override the policy's defaults. */
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly settings: Readonly<Record<string, unknown>>;
  /** Seconds for which the chosen GPUs count as taken in other callers' decisions; the default if absent. */
  readonly assumeSeconds: number | undefined;
  /** Whether the client asked for a lease on what is chosen. */
  readonly isHoldAsked: boolean;
}

/** How the client selects candidates; ids win over a filter, a filter over a search. */
export type Selection =
  | { readonly kind: "all" }
  | { readonly kind: "ids"; readonly ids: readonly string[] }
  | { readonly kind: "filter"; readonly filter: ClusterFilter }
  | { readonly kind: "search"; readonly search: Search };

/** A message of which everything but the inputs has been read. */
interface Message {
  /** The fields with their numbers as written; the inputs are null where there are any. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly inputsJson: string | undefined;
  readonly requestCount: number | undefined;
}

/** Reads what a client sent. Never throws: what is wrong with it is told by `request()`. */
export function readFrame(text: string): AllocationFrame {
  return frameOf(() => readMessage(text, parseClientJson(text)));
}

/** {@link readFrame} for text that `parseClientJson` has taken, and what that made of it. */
export function readParsedFrame(text: string, parsed: unknown): AllocationFrame {
  return frameOf(() => readMessage(text, parsed));
}

function frameOf(read: () => Message): AllocationFrame {
  let message: Message;
  try {
    message = read();
  } catch (thrown) {
    const request = () => {
      throw thrown;
    };
    return { requestId: undefined, request };
  }
  const id = message.fields.request_id;
  return { requestId: isRequestId(id) ? id : undefined, request: () => toRequest(message) };
}

/** The inputs are cut out as text: nobody looks into them, however large they are. */
function readMessage(text: string, parsed: unknown): Message {
  if (!isJsonObject(parsed)) {
    const got = typeName(parsed);
    throw new BerthError("INVALID_ARGUMENT", `the request: expected a JSON object, got ${got}`);
  }
  const inputs = memberOf(text, wholeOf(text), "inputs");
  const rest = inputs === undefined ? text : spliced(text, [{ ...inputs, text: "null" }]);
  const exceeded = exceededBound(rest, FIELD_BOUNDS);
  if (exceeded !== undefined) {
    const why = boundMessage(rest, exceeded, FIELD_BOUNDS);
    throw new BerthError("INVALID_ARGUMENT", `${why} beside its inputs`);
  }
  return {
    fields: parseLossless(rest) as Record<string, unknown>,
    inputsJson: inputs && text.slice(inputs.start, inputs.end),
    requestCount: requestCount(parsed.inputs),
  };
}

function toRequest({ fields, inputsJson, requestCount }: Message): AllocationRequest {
  refuseBlockMode(fields);
  const uri = fields.policy_rule_uri;
  if (uri === undefined || uri === "") missing("policy_rule_uri");
  if (inputsJson === undefined || inputsJson === '""') return missing("inputs");
  const id = fields.request_id;
  if (id !== undefined && id !== null && !isRequestId(id)) {
    const got = valueName(id);
    throw new BerthError("INVALID_ARGUMENT", `request_id: expected text or a number, got ${got}`);
  }
  if (typeof uri !== "string") {
    const got = valueName(uri);
    throw new BerthError("INVALID_ARGUMENT", `policy_rule_uri: expected a string, got ${got}`);
  }
  return {
    policyRuleUri: uri,
    selection: selectionOf(fields),
    inputsJson,
    requestCount,
    parameters: optionalObject("parameters", fields.parameters),
    settings: optionalObject("settings", fields.settings),
    assumeSeconds: assumeSeconds(fields.assume_seconds),
    isHoldAsked: isHoldAsked(fields.hold),
  };
}

function missing(field: string): never {
  throw new BerthError("INVALID_ARGUMENT", `Missing required fields: ${field}`);
}

function isRequestId(id: unknown): id is RequestId {
  return typeof id === "string" || typeof id === "number" || isRawNumber(id);
}

/** `adhoc` as clients write it: a boolean, or one in a number or a text; undefined when it is empty. */
function adhocOf(value: unknown): boolean | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "boolean") return value;
  if (typeof value === "string" && /^(true|false)$/i.test(value)) return /^t/i.test(value);
  const number = toNumber(value);
  if (number === 0 || number === 1) return number === 1;
  const got = typeof value === "string" ? JSON.stringify(value.slice(0, 60)) : numberOrName(value);
  throw new BerthError("INVALID_ARGUMENT", `adhoc: expected true or false, got ${got}`);
}

/**
 * Clients of the existing deployment ask for a block with `input` and `mode`, and `adhoc` false or absent. An
 * ad-hoc request has neither, whatever stands in its `inputs`.
 */
function refuseBlockMode(fields: Readonly<Record<string, unknown>>): void {
  const adhoc = adhocOf(fields.adhoc);
  if (adhoc === true || !("input" in fields || "mode" in fields)) return;
  if (adhoc === undefined && "policy_rule_uri" in fields) return;
  throw new BerthError(
    "UNIMPLEMENTED",
    'block mode ({"input", "mode"}) is not served; send {"adhoc": true, "policy_rule_uri", "inputs"}',
  );
}

function selectionOf(message: Readonly<Record<string, unknown>>): Selection {
  const ids = clusterIds(message.clusters);
  const filter = optionalObject("filter", message.filter);
  const search = optionalObject("search", message.search);
  // What is not used is checked, too: a mistake in it shows with the first request, not with another one.
  const parsedFilter = Object.keys(filter).length > 0 ? parseFilter(filter) : undefined;
  const parsedSearch = Object.keys(search).length > 0 ? parseSearch(search) : undefined;
  if (ids.length > 0) return { kind: "ids", ids };
  if (parsedFilter !== undefined) return { kind: "filter", filter: parsedFilter };
  if (parsedSearch !== undefined) return { kind: "search", search: parsedSearch };
  return { kind: "all" };
}

function clusterIds(value: unknown): readonly string[] {
  if (value === undefined || value === null || value === "") return [];
  const ids = typeof value === "string" ? [value] : value;
  if (!Array.isArray(ids)) {
    const got = valueName(value);
    throw new BerthError("INVALID_ARGUMENT", `clusters: expected an array, got ${got}`);
  }
  if (ids.length > MAX_CLUSTER_IDS) {
    const message = `clusters: expected at most ${MAX_CLUSTER_IDS} ids, got ${ids.length}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  for (const [index, id] of ids.entries()) {
    if (typeof id === "string" && id.length > MAX_ID_CHARACTERS) {
      const message = `clusters[${index}]: expected at most ${MAX_ID_CHARACTERS} characters`;
      throw new BerthError("INVALID_ARGUMENT", message);
    }
    if (typeof id === "string") continue;
    const message = `clusters[${index}]: expected a string, got ${valueName(id)}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  return [...new Set<string>(ids)];
}

function optionalObject(field: string, value: unknown): Readonly<Record<string, unknown>> {
  if (value === undefined || value === null || value === "") return {};
  if (isJsonObject(value)) return value;
  const message = `${field}: expected an object, got ${valueName(value)}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}

function assumeSeconds(value: unknown): number | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  const seconds = toNumber(value);
  if (seconds !== undefined && seconds >= 0 && seconds <= MAX_ASSUME_SECONDS) return seconds;
  const got = numberOrName(value);
  const message = `assume_seconds: expected a number from 0 to ${MAX_ASSUME_SECONDS}, got ${got}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}

function isHoldAsked(value: unknown): boolean {
  if (value === undefined || value === null || value === "") return false;
  if (typeof value === "boolean") return value;
  if (!isJsonObject(value)) {
    const message = `hold: expected {"ttl_ms": …} or a boolean, got ${valueName(value)}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  const ttl = value.ttl_ms;
  if (ttl === undefined || ttl === null) return true;
  const ttlMs = toNumber(ttl);
  if (ttlMs !== undefined && Number.isInteger(ttlMs) && ttlMs > 0 && ttlMs <= MAX_HOLD_MS) {
    return true;
  }
  const message = `hold.ttl_ms: expected a whole number of ms from 1 to ${MAX_HOLD_MS}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}

/** A number as it is, and the name of what is none, or none that a double holds. */
function numberOrName(value: unknown): string {
  const number = toNumber(value);
  return number !== undefined && Number.isFinite(number) ? String(number) : valueName(value);
}
