import { endOfString } from "./json-spans.ts";

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPENING_CURLY = 0x7b;
const CLOSING_CURLY = 0x7d;
/** Square and curly brackets differ in this bit alone. */
const CURLY_BIT = 0x20;
/** Longest path in a message. */
const SHOWN_PATH = 200;
const PLAIN_KEY = /^"[A-Za-z_][\w-]*"$/;

/** How deep a JSON text may be nested, and how much may be in it. */
export interface JsonBounds {
  /** Levels of arrays and objects. */
  readonly depth: number;
  /** Values and keys, counted from above: commas, colons, and opening brackets, and one. */
  readonly values: number;
}

/** Where a text passes one of its bounds. */
export interface ExceededBound {
  readonly bound: keyof JsonBounds;
  /** Index of the character that is too much. */
  readonly at: number;
}

/**
 * Where a text passes a bound first, without parsing it: parsing is what takes long. One pass that does not
 * recurse and keeps nothing, over any text, JSON or not.
 */
export function exceededBound(text: string, bounds: JsonBounds): ExceededBound | undefined {
  let depth = 0;
  let values = 1;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at) - 1;
    else if (code === COMMA || code === COLON) values += 1;
    else if ((code | CURLY_BIT) === OPENING_CURLY) {
      values += 1;
      depth += 1;
      if (depth > bounds.depth) return { bound: "depth", at };
    } else if ((code | CURLY_BIT) === CLOSING_CURLY) depth -= 1;
    if (values > bounds.values) return { bound: "values", at };
  }
  return undefined;
}

interface Level {
  readonly isObject: boolean;
  index: number;
  /** The key with its quotes, once it was seen. */
  key: string | undefined;
}

/**
 * The path of the value at a place of a text, or around it, for people: `inputs.a[3]`, its first 200 characters.
 * Empty for the whole of the text. For places that are not nested deeper than a bound.
 */
export function pathAt(text: string, place: number): string {
  const levels: Level[] = [];
  for (let at = 0; at < place; at += 1) {
    const code = text.charCodeAt(at);
    const level = levels.at(-1);
    if (code === QUOTE) {
      const end = endOfString(text, at);
      if (level?.isObject) level.key ??= keyText(text, at, end);
      at = end - 1;
    } else if (code === COMMA && level !== undefined) {
      level.index += 1;
      level.key = undefined;
    } else if ((code | CURLY_BIT) === OPENING_CURLY) {
      levels.push({ isObject: code === OPENING_CURLY, index: 0, key: undefined });
    } else if ((code | CURLY_BIT) === CLOSING_CURLY) levels.pop();
  }
  const path = levels.map(stepOf).join("");
  const whole = path.startsWith(".") ? path.slice(1) : path;
  return whole.length <= SHOWN_PATH ? whole : `${whole.slice(0, SHOWN_PATH)}…`;
}

function keyText(text: string, start: number, end: number): string {
  return text.slice(start, Math.min(end, start + SHOWN_PATH));
}

function stepOf({ isObject, index, key }: Level): string {
  if (!isObject) return `[${index}]`;
  if (key === undefined) return "";
  return PLAIN_KEY.test(key) ? `.${key.slice(1, -1)}` : `[${key}]`;
}

/** What is wrong with a text that passes a bound, and where: `inputs.a[3]…: nested deeper than 128 levels`. */
export function boundMessage(
  text: string,
  { bound, at }: ExceededBound,
  bounds: JsonBounds,
): string {
  const why =
    bound === "depth"
      ? `nested deeper than ${bounds.depth} levels of arrays and objects`
      : `the request has more than ${bounds.values} values and keys`;
  return `${fieldAt(text, at)}: ${why}`;
}

function fieldAt(text: string, at: number): string {
  const path = pathAt(text, at);
  return path === "" || path.startsWith("[") ? `the request${path}` : path;
}
