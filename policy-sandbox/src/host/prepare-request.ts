import { createHash } from "node:crypto";
import type { Limits } from "../limits.ts";
import type { EvaluationRequest, HostClient, ResidentInput } from "../request.ts";
import { scanJson } from "./json-scan.ts";
import {
  type CheckedResidents,
  checkResidents,
  PartSizes,
  type ResidentBounds,
} from "./resident-input.ts";

/** A request that passed the checks, ready to be sent. */
export interface PreparedRequest {
  /** Names the policy instance: same code, settings, parameters, environment and clients. */
  readonly instance: string;
  readonly request: EvaluationRequest;
  /** Names of the texts whose floats are checked one by one. */
  readonly strictNumbers: readonly string[];
  /** Null when there are none, or when they are asked for later. */
  readonly resident: CheckedResidents | null;
}

/** A context that passed the checks. */
export interface CheckedContext {
  readonly json: string;
  /** It has no members. */
  readonly isEmpty: boolean;
  /** See `JsonScan.wideNumbers`. */
  readonly strict: boolean;
}

/** What a look at a text told. */
interface TextFacts {
  readonly bytes: number;
  readonly depth: number;
  readonly wideNumbers: boolean;
  readonly sha256: string;
  /** Why it is no JSON object; null when it is one. */
  readonly notAnObject: string | null;
}

const MAX_ENVIRONMENT_BYTES = 64 * 1024;
const NOT_JSON = "not JSON, expected a JSON object";
const NOT_AN_OBJECT = "expected a JSON object";
const MAX_KNOWN_TEXTS = 256;
const MAX_KNOWN_CHARS = 16 * 1024;

/** Checks requests and remembers what it found out about texts and documents that come again and again. */
export class RequestChecks {
  readonly sizes = new PartSizes();
  readonly bounds: ResidentBounds;
  readonly #texts = new Map<string, TextFacts>();

  constructor(bounds: ResidentBounds) {
    this.bounds = bounds;
  }

  /** Checks what the caller gives; the string is the refusal's message and names the field. */
  prepare(request: EvaluationRequest): PreparedRequest | string {
    const { limits, settingsJson, parametersJson, resident } = request;
    const settings = this.#factsOf(settingsJson);
    const parameters = this.#factsOf(parametersJson);
    const problem =
      checkText("settingsJson", settings, limits) ??
      checkText("parametersJson", parameters, limits) ??
      checkObject("settingsJson", settings) ??
      checkEnvironment(request.environment ?? {});
    if (problem !== null) return problem;
    const input = checkInput(request);
    if (typeof input === "string") return input;
    const checked = typeof resident === "object" ? this.residents(request, resident) : null;
    if (typeof checked === "string") return checked;
    const strict = { settings, parameters, input };
    return {
      instance: instanceKey(request, settings.sha256, parameters.sha256),
      request,
      strictNumbers: Object.entries(strict).flatMap(([name, facts]) =>
        facts.wideNumbers ? [name] : [],
      ),
      resident: checked,
    };
  }

  /** Checks a context, which is another text nearly each time; the string is the refusal's message. */
  context(json: string, limits: Limits): CheckedContext | string {
    if (json === "{}") return { json, isEmpty: true, strict: false };
    const { depth, wideNumbers: strict } = scanJson(json);
    const size = { bytes: Buffer.byteLength(json, "utf8"), depth, wideNumbers: strict };
    const problem = checkText("context", size, limits);
    if (problem !== null) return problem;
    const value = parsed(json);
    if (!isObject(value)) return `context: ${value === undefined ? NOT_JSON : NOT_AN_OBJECT}`;
    return { json, isEmpty: Object.keys(value).length === 0, strict };
  }

  /** Checks resident documents; the string is the refusal's message. */
  residents(request: EvaluationRequest, resident: ResidentInput): CheckedResidents | string {
    return checkResidents(request, resident, this);
  }

  #factsOf(text: string): TextFacts {
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    const facts = lookAt(text);
    if (text.length > MAX_KNOWN_CHARS) return facts;
    for (const oldest of this.#texts.keys()) {
      if (this.#texts.size < MAX_KNOWN_TEXTS) break;
      this.#texts.delete(oldest);
    }
    this.#texts.set(text, facts);
    return facts;
  }
}

/** What the runner has to know of the clients, by name. */
export function describeClients(
  clients: Readonly<Record<string, HostClient>> = {},
): Record<string, object> {
  const described = Object.entries(clients).map(([name, client]) => [
    name,
    { callable: client.callable !== undefined, methods: Object.keys(client.methods).sort() },
  ]);
  return Object.fromEntries(described);
}

function lookAt(text: string): TextFacts {
  const { depth, wideNumbers } = scanJson(text);
  return {
    bytes: Buffer.byteLength(text, "utf8"),
    depth,
    wideNumbers,
    sha256: createHash("sha256").update(text).digest("hex"),
    notAnObject: whyNoObject(text),
  };
}

function whyNoObject(text: string): string | null {
  const value = parsed(text);
  if (value === undefined) return NOT_JSON;
  return isObject(value) ? null : NOT_AN_OBJECT;
}

/** Undefined for what is not JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function checkObject(field: string, facts: TextFacts): string | null {
  return facts.notAnObject === null ? null : `${field}: ${facts.notAnObject}`;
}

type Size = Pick<TextFacts, "bytes" | "depth" | "wideNumbers">;

/** The only text that is another one each time. */
function checkInput({ call, inputJson, limits }: EvaluationRequest): Size | string {
  const management = call?.kind === "management";
  const text = management ? call.dataJson : inputJson;
  const facts = { bytes: Buffer.byteLength(text, "utf8"), ...scanJson(text) };
  return checkText(management ? "call.dataJson" : "inputJson", facts, limits) ?? facts;
}

function checkText(field: string, { bytes, depth }: Size, limits: Limits): string | null {
  if (bytes > limits.inputBytes) {
    return `${field}: ${bytes} bytes, at most ${limits.inputBytes} are allowed`;
  }
  if (depth > limits.inputDepth) {
    return `${field}: nested ${depth} deep, at most ${limits.inputDepth} are allowed`;
  }
  return null;
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

function instanceKey(request: EvaluationRequest, settings: string, parameters: string): string {
  const environment = Object.entries(request.environment ?? {}).sort();
  const parts = [
    request.code.digest,
    settings,
    parameters,
    JSON.stringify(environment),
    JSON.stringify(describeClients(request.clients)),
  ];
  const hash = createHash("sha256");
  hash.update(parts.map((part) => `${part.length}:${part}`).join(""));
  return hash.digest("hex");
}
