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
 * number; any other is a {@link RawNumber}. Throws SyntaxError as JSON.parse does.
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

/** Parses JSON text that a client sent; INVALID_ARGUMENT says what is wrong and where. */
export function parseClientJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "syntax error";
    throw new BerthError("INVALID_ARGUMENT", `the request is not JSON: ${why}`, { cause });
  }
}

/** Deepest nesting of arrays and objects in a JSON value; walks with a stack, so any depth is safe. */
export function jsonDepth(value: unknown): number {
  let deepest = 0;
  const stack: [unknown, number][] = [[value, 0]];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const [node, depth] = next;
    if (typeof node !== "object" || node === null || isRawNumber(node)) continue;
    deepest = Math.max(deepest, depth + 1);
    for (const child of Object.values(node)) stack.push([child, depth + 1]);
  }
  return deepest;
}

/** Whether a value is a JSON object: not null, not an array, not a raw number. */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === "object" && value !== null && !Array.isArray(value) && !isRawNumber(value)
  );
}
