import { createHash } from "node:crypto";
import { HARD_KILL_AFTER_MS, type Limits } from "../limits.ts";
import type { EvaluationRequest } from "../request.ts";
import { scanJson } from "./json-scan.ts";
import type { Job } from "./worker-process.ts";

/** A request that passed the checks, ready to be sent. */
export interface PreparedRequest {
  /** Names the policy instance: same code, settings, parameters, environment and clients. */
  readonly instance: string;
  readonly request: EvaluationRequest;
  /** Texts whose floats are checked one by one. */
  readonly strictNumbers: readonly string[];
}

const MIB = 1024 * 1024;
const MAX_ENVIRONMENT_BYTES = 64 * 1024;
const FRAME_SLACK_BYTES = 256 * 1024;
// The log travels as an escaped JSON string: at most six bytes for one.
const ESCAPE_FACTOR = 6;

/** Checks what the caller gives; the string is the refusal's message and names the field. */
export function prepareRequest(request: EvaluationRequest): PreparedRequest | string {
  const strictNumbers: string[] = [];
  for (const [field, text] of jsonFields(request)) {
    const problem = checkText(field, text, request.limits);
    if (typeof problem === "string") return problem;
    if (problem.wideNumbers) strictNumbers.push(partName(field));
  }
  const problem =
    checkObject("settingsJson", request.settingsJson) ??
    (request.contextJson === undefined ? null : checkObject("contextJson", request.contextJson)) ??
    checkEnvironment(request.environment ?? {});
  if (problem !== null) return problem;
  return { instance: instanceKey(request), request, strictNumbers };
}

/** The job for a worker; `loaded` tells that the worker has the instance already. */
export function evaluationJob(
  prepared: PreparedRequest,
  loaded: boolean,
): Pick<Job, "message" | "sections"> {
  const { request, instance } = prepared;
  const { limits } = request;
  const call = request.call ?? { kind: "eval" };
  const texts: Record<string, string> = {
    input: call.kind === "management" ? call.dataJson : request.inputJson,
    context: request.contextJson ?? "{}",
  };
  if (!loaded) {
    texts.files = JSON.stringify(request.code.files);
    texts.settings = request.settingsJson;
    texts.parameters = request.parametersJson;
  }
  const header = {
    operation: "evaluate",
    parts: Object.keys(texts),
    instance,
    call: call.kind === "management" ? { kind: call.kind, action: call.action } : call,
    clients: describeClients(request),
    environment: request.environment ?? {},
    strictNumbers: prepared.strictNumbers,
    limits: {
      resultDepth: limits.resultDepth,
      outputBytes: limits.outputBytes,
      contextBytes: limits.contextBytes,
      logBytes: limits.logBytes,
    },
  };
  return {
    message: runMessage(limits, header),
    sections: Object.values(texts).map((text) => Buffer.from(text, "utf8")),
  };
}

/** The run message for a runner's header under these limits. */
export function runMessage(limits: Limits, header: object): Job["message"] {
  return {
    wallMs: limits.wallMs,
    cpuMs: limits.cpuMs,
    graceMs: HARD_KILL_AFTER_MS,
    memoryBytes: limits.memoryMiB * MIB,
    fileBytes: limits.memfsMiB * MIB,
    request: JSON.stringify(header),
  };
}

/** Largest frame that an honest worker answers an evaluation with. */
export function evaluationReplyBytes(limits: Limits): number {
  const log = ESCAPE_FACTOR * limits.logBytes;
  return limits.outputBytes + limits.contextBytes + log + 2 * FRAME_SLACK_BYTES;
}

function jsonFields(request: EvaluationRequest): [string, string][] {
  const fields: [string, string][] = [
    ["settingsJson", request.settingsJson],
    ["parametersJson", request.parametersJson],
  ];
  const { call, contextJson } = request;
  if (call?.kind === "management") fields.push(["call.dataJson", call.dataJson]);
  else fields.push(["inputJson", request.inputJson]);
  if (contextJson !== undefined) fields.push(["contextJson", contextJson]);
  return fields;
}

function partName(field: string): string {
  return field === "call.dataJson" ? "input" : field.replace(/Json$/, "");
}

function checkText(field: string, text: string, limits: Limits): string | { wideNumbers: boolean } {
  const bytes = Buffer.byteLength(text, "utf8");
  if (bytes > limits.inputBytes) {
    return `${field}: ${bytes} bytes, at most ${limits.inputBytes} are allowed`;
  }
  const { depth, wideNumbers } = scanJson(text);
  if (depth > limits.inputDepth) {
    return `${field}: nested ${depth} deep, at most ${limits.inputDepth} are allowed`;
  }
  return { wideNumbers };
}

function checkObject(field: string, text: string): string | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return `${field}: not JSON, expected a JSON object`;
  }
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? null : `${field}: expected a JSON object`;
}

function checkEnvironment(environment: Readonly<Record<string, string>>): string | null {
  let bytes = 0;
  for (const [name, value] of Object.entries(environment)) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      return `environment: ${JSON.stringify(name.slice(0, 80))} is not a variable name`;
    }
    if (value.includes("\0")) return `environment.${name}: contains a NUL character`;
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  }
  return bytes > MAX_ENVIRONMENT_BYTES
    ? `environment: ${bytes} bytes, at most ${MAX_ENVIRONMENT_BYTES} are allowed`
    : null;
}

function describeClients(request: EvaluationRequest): Record<string, object> {
  const clients = Object.entries(request.clients ?? {}).map(([name, client]) => [
    name,
    { callable: client.callable !== undefined, methods: Object.keys(client.methods).sort() },
  ]);
  return Object.fromEntries(clients);
}

function instanceKey(request: EvaluationRequest): string {
  const environment = Object.entries(request.environment ?? {}).sort();
  const parts = [
    request.code.digest,
    request.settingsJson,
    request.parametersJson,
    JSON.stringify(environment),
    JSON.stringify(describeClients(request)),
  ];
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest("hex");
}
