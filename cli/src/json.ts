/** A number kept as its source text; `JSON.stringify` writes the text back. */
export interface RawNumber {
  readonly rawJSON: string;
}

interface RawJson {
  rawJSON(text: string): RawNumber;
  isRawJSON(value: unknown): value is RawNumber;
}
type Reviver = (key: string, value: unknown, context: { source?: string }) => unknown;

const { rawJSON, isRawJSON } = JSON as unknown as RawJson;
const parseWith = JSON.parse as unknown as (text: string, reviver: Reviver) => unknown;

/**
 * Parses JSON so that numbers come out again as they went in: 10.0 stays 10.0, integers beyond 2^53
 * stay exact. Only numbers that JavaScript would write otherwise become a {@link RawNumber}. Throws
 * SyntaxError as JSON.parse does, also for what is nested too deeply.
 */
export function parseLossless(text: string): unknown {
  try {
    return parseWith(text, (_key, value, context) => {
      if (typeof value !== "number" || context.source === undefined) return value;
      return String(value) === context.source ? value : rawJSON(context.source);
    });
  } catch (cause) {
    // A reviver is called down to the deepest level: V8 says only that its stack is full.
    if (cause instanceof RangeError) throw new SyntaxError("nested too deeply", { cause });
    throw cause;
  }
}

/**
 * The number that a JSON number's text stands for, kept as its text where JavaScript would write it
 * otherwise; undefined for text that is no JSON number.
 */
export function losslessNumber(source: string): number | RawNumber | undefined {
  if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(source)) return undefined;
  const value = Number(source);
  return String(value) === source ? value : rawJSON(source);
}

/** Whether a value is a number kept as its source text. */
export function isRawNumber(value: unknown): value is RawNumber {
  return isRawJSON(value);
}

/** Whether a value is a JSON object: not null, no list, no raw number. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === "object" && value !== null && !Array.isArray(value) && !isRawNumber(value)
  );
}
