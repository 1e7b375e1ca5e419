import {
  BerthError,
  isJsonObject,
  isRawNumber,
  parseLossless,
  toNumber,
  typeName,
} from "@berth/service-kit";
import { isScalar, parseDocument, visit } from "yaml";

/** A JSON object of a client; numbers may be kept as they were written. */
export type Body = Readonly<Record<string, unknown>>;

/** Most bytes of a workflow as JSON, and of its YAML text. */
export const MAX_WORKFLOW_BYTES = 256 * 1024;
/** Of YAML, which takes longer to read the longer it is. */
const MAX_YAML_BYTES = 64 * 1024;
/** Most levels of arrays and objects in a workflow: its parameters become part of what modules are given. */
export const MAX_WORKFLOW_DEPTH = 48;
/** Characters of a client's value that a message repeats. */
const MAX_SHOWN = 80;
const JSON_NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

/** An INVALID_ARGUMENT error; the message begins with the path of the field. */
export function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}

/** A short form of a client's value for messages: texts, numbers and booleans as such, others by their type. */
export function shown(value: unknown): string {
  if (isRawNumber(value)) return value.rawJSON.slice(0, MAX_SHOWN);
  const isPlain = ["string", "number", "boolean"].includes(typeof value);
  if (!isPlain) return typeName(value);
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`;
}

/**
 * The JSON object that a client sent, as a value or as JSON or YAML text. INVALID_ARGUMENT when it is none, is larger
 * than 256 KiB or nested deeper than 48 levels, or holds what JSON or a double cannot hold, or a key `__proto__`.
 */
export function readBody(given: unknown): Body {
  const body = typeof given === "string" ? parseText(given) : given;
  if (!isJsonObject(body)) {
    throw invalid(`the workflow: expected an object, got ${typeName(body)}`);
  }
  checkValue(body, "", 1);
  const bytes = Buffer.byteLength(JSON.stringify(body));
  if (bytes > MAX_WORKFLOW_BYTES) throw tooLarge(bytes);
  return body;
}

/** The path of a member, for messages: `modules.check`, `graph["a b"]`. */
export function pathOf(parent: string, key: string): string {
  const step = /^[\w-]+$/.test(key) ? `.${key}` : `[${JSON.stringify(key.slice(0, MAX_SHOWN))}]`;
  return parent === "" && step.startsWith(".") ? key : `${parent}${step}`;
}

function tooLarge(bytes: number): BerthError {
  return invalid(`the workflow: expected at most ${MAX_WORKFLOW_BYTES} bytes, got ${bytes}`);
}

function parseText(text: string): unknown {
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_WORKFLOW_BYTES) throw tooLarge(bytes);
  try {
    return /^\s*\{/.test(text) ? parseObject(text) : parseYaml(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const [firstLine = why] = why.split("\n");
    throw new BerthError(
      "INVALID_ARGUMENT",
      `the workflow: is neither JSON nor YAML: ${firstLine}`,
      { cause },
    );
  }
}

/** What begins with a bracket may still be YAML in its flow style. */
function parseObject(text: string): unknown {
  try {
    return parseLossless(text);
  } catch {
    return parseYaml(text);
  }
}

function parseYaml(text: string): unknown {
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_YAML_BYTES) {
    throw new Error(`expected at most ${MAX_YAML_BYTES / 1024} KiB of YAML, got ${bytes} bytes`);
  }
  // Its own check of keys compares each one with all others.
  const document = parseDocument(text, { logLevel: "error", uniqueKeys: false });
  const [error] = document.errors;
  if (error !== undefined) throw error;
  visit(document, {
    Map: (_, { items }) => {
      const names = items.map(({ key }) => (isScalar(key) ? String(key.value) : undefined));
      const once = new Set<string>();
      for (const name of names) {
        if (name !== undefined && once.has(name))
          throw new Error(`the key ${shown(name)} comes twice`);
        if (name !== undefined) once.add(name);
      }
    },
    Scalar: (_, node) => {
      const { source } = node;
      const isNumber = typeof node.value === "number" && source !== undefined;
      // In YAML, too, 10.0 stays a float. The node stays: aliases may mean it.
      if (isNumber && JSON_NUMBER.test(source)) node.value = parseLossless(source);
    },
  });
  return document.toJS();
}

/** Walks no deeper than the bound, so that no body exhausts the stack. */
function checkValue(value: unknown, path: string, depth: number): void {
  const number = toNumber(value);
  if (number !== undefined) {
    if (Number.isFinite(number)) return;
    throw invalid(`${path}: expected a number that a double can hold, got ${shown(value)}`);
  }
  if (value === null || typeof value === "string" || typeof value === "boolean") return;
  if (typeof value !== "object") {
    throw invalid(`${path}: expected a JSON value, got ${typeof value}`);
  }
  if (depth > MAX_WORKFLOW_DEPTH) {
    throw invalid(`${path}: nested deeper than ${MAX_WORKFLOW_DEPTH} levels`);
  }
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) checkValue(item, `${path}[${index}]`, depth + 1);
    return;
  }
  if (!isPlain(value)) throw invalid(`${path}: expected a JSON value, got another object`);
  for (const [key, item] of Object.entries(value)) {
    const member = pathOf(path, key);
    if (key === "__proto__") throw invalid(`${member}: a key cannot have this name`);
    checkValue(item, member, depth + 1);
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}
