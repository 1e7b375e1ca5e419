import { BerthError } from "./errors.ts";

/** A number kept as its source text, as `JSON.rawJSON` makes it. `JSON.stringify` writes the text back. */
export interface RawNumber {
  readonly rawJSON: string;
}

interface RawJson {
  rawJSON(text: string): RawNumber;
  isRawJSON(value: unknown): value is RawNumber;
}
type LosslessReviver = (key: string, value: unknown, context: { source?: string }) => unknown;

const { rawJSON, isRawJSON } = JSON as unknown as RawJson;
const parseWith = JSON.parse as unknown as (text: string, reviver: LosslessReviver) => unknown;

/**
 * Parses JSON text so that `JSON.stringify` gives back every number as it was written: 10.0 stays a
 * float and integers beyond 2^53 stay exact. A number that JavaScript writes the same way is a plain
 * number; any other is a {@link RawNumber}. Throws SyntaxError as JSON.parse does, and RangeError for
 * text that is nested thousands of levels deep (a reviver recurses).
 */
export function parseLossless(text: string): unknown {
  return parseWith(text, (_key, value, context) => {
    if (typeof value !== "number" || context.source === undefined) return value;
    return String(value) === context.source ? value : rawJSON(context.source);
  });
}

/** Whether a value is a number kept as source text. */
export function isRawNumber(value: unknown): value is RawNumber {
  return isRawJSON(value);
}

/** The JavaScript number of a plain or raw number, undefined for anything else. */
export function toNumber(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  return isRawNumber(value) ? Number(value.rawJSON) : undefined;
}

/** Deepest nesting of JSON that a client may send. What lies behind (validation, stores) recurses. */
export const MAX_JSON_DEPTH = 128;

/**
 * Parses JSON text that a client sent; INVALID_ARGUMENT says what is wrong and where, also for text
 * that is nested deeper than {@link MAX_JSON_DEPTH}.
 */
export function parseClientJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "syntax error";
    throw new BerthError("INVALID_ARGUMENT", `the request is not JSON: ${why}`, { cause });
  }
  if (jsonDepth(value) > MAX_JSON_DEPTH) {
    const why = `expected at most ${MAX_JSON_DEPTH} levels of arrays and objects`;
    throw new BerthError("INVALID_ARGUMENT", `the request is nested too deep: ${why}`);
  }
  return value;
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
