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
import { type BlockModeRequest, readBlockMode } from "./block-mode-request.ts";
import { type HoldRequest, holdOf } from "./hold-request.ts";
import { requestCount } from "./request-count.ts";
import { numberOrName, optionalObject, type Selection, selectionOf } from "./request-fields.ts";
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
    Type.Union([
      Type.Boolean(),
      Type.Object({
        ttl_ms: Type.Optional(Type.Integer()),
        subject: Type.Optional(Type.String()),
      }),
    ]),
  ),
});

/** Longest time for which a placement is assumed, in s. */
export const MAX_ASSUME_SECONDS = 300;
/** What is read value by value: everything but the inputs. The existing clients send far less. */
const FIELD_BOUNDS = { depth: MAX_JSON_DEPTH, values: 100_000 };

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
  /**
   * The request in the block mode of the existing deployment; undefined when it is an ad-hoc one. Throws as
   * {@link request} does.
   */
  readonly blockMode: () => BlockModeRequest | undefined;
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
  /** The lease that the client asked for on what is chosen; undefined when it asked for none. */
  readonly hold: HoldRequest | undefined;
}

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
    return { requestId: undefined, request, blockMode: request };
  }
  const { fields } = message;
  const id = fields.request_id;
  return {
    requestId: isRequestId(id) ? id : undefined,
    request: () => toRequest(message),
    blockMode: () => (isBlockMode(fields) ? readBlockMode(fields) : undefined),
  };
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
  adhocOf(fields.adhoc);
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
    hold: holdOf(fields.hold),
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
function isBlockMode(fields: Readonly<Record<string, unknown>>): boolean {
  const adhoc = adhocOf(fields.adhoc);
  if (adhoc === true || !("input" in fields || "mode" in fields)) return false;
  return adhoc !== undefined || !("policy_rule_uri" in fields);
}

function assumeSeconds(value: unknown): number | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  const seconds = toNumber(value);
  if (seconds !== undefined && seconds >= 0 && seconds <= MAX_ASSUME_SECONDS) return seconds;
  const got = numberOrName(value);
  const message = `assume_seconds: expected a number from 0 to ${MAX_ASSUME_SECONDS}, got ${got}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}
