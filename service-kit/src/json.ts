import { BerthError } from "./errors.ts";
import { boundMessage, exceededBound } from "./json-bounds.ts";
import { isRawNumber } from "./lossless-json.ts";

/** The JavaScript number of a plain or raw number, undefined for anything else. */
export function toNumber(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  return isRawNumber(value) ? Number(value.rawJSON) : undefined;
}

/** Deepest nesting of JSON that a client may send. What lies behind (validation, stores) recurses. */
export const MAX_JSON_DEPTH = 128;
/**
 * Most values and keys of JSON that a client may send. As many take some 20 ms to parse, 250 ms when all are
 * keys of one object, and twice that when numbers are kept as written: nothing else happens meanwhile.
 */
export const MAX_JSON_VALUES = 500_000;

const CLIENT_BOUNDS = { depth: MAX_JSON_DEPTH, values: MAX_JSON_VALUES };

/**
 * Parses JSON text that a client sent; INVALID_ARGUMENT says what is wrong and where, also for text
 * that is nested deeper than {@link MAX_JSON_DEPTH} or holds more than {@link MAX_JSON_VALUES}, which is
 * not parsed at all.
 */
export function parseClientJson(text: string): unknown {
  const exceeded = exceededBound(text, CLIENT_BOUNDS);
  if (exceeded !== undefined) {
    throw new BerthError("INVALID_ARGUMENT", boundMessage(text, exceeded, CLIENT_BOUNDS));
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "syntax error";
    throw new BerthError("INVALID_ARGUMENT", `the request is not JSON: ${why}`, { cause });
  }
}

/**
 * Deepest nesting of arrays and objects in a JSON value: 0 for a scalar, 1 for `[]`. Walks with a
 * stack of one entry per level, so any depth and any width is safe.
 */
export function jsonDepth(value: unknown): number {
  let deepest = 0;
  const path: { readonly children: readonly unknown[]; next: number }[] = [];
  const enter = (node: unknown): void => {
    if (typeof node !== "object" || node === null || isRawNumber(node)) return;
    path.push({ children: Array.isArray(node) ? node : Object.values(node), next: 0 });
    deepest = Math.max(deepest, path.length);
  };
  enter(value);
  for (let level = path.at(-1); level !== undefined; level = path.at(-1)) {
    if (level.next === level.children.length) path.pop();
    else enter(level.children[level.next++]);
  }
  return deepest;
}

/** A copy of a JSON value that shares nothing but raw numbers, which are frozen. */
export function cloneJson<T>(value: T): T {
  if (typeof value !== "object" || value === null || isRawNumber(value)) return value;
  if (Array.isArray(value)) return value.map(cloneJson) as T;
  return Object.fromEntries(
    Object.entries(value).map(([key, child]) => [key, cloneJson(child)]),
  ) as T;
}

/** Whether a value is a JSON object: not null, not an array, not a raw number. */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === "object" && value !== null && !Array.isArray(value) && !isRawNumber(value)
  );
}
