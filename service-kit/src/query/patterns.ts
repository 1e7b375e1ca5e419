import { RE2JS } from "re2js";
import { BerthError } from "../errors.ts";
import { isJsonObject } from "../json.ts";
import { typeName } from "../validate.ts";

/** Whether a pattern is found in a text; as a function a value that mingo passes through unchanged. */
export type Pattern = (text: string) => boolean;

/** A compiled pattern and what it costs. */
export interface CompiledPattern {
  readonly matches: Pattern;
  /** Steps that each character of a text may take. */
  readonly steps: number;
}

const MAX_PATTERN_LENGTH = 1_000;
const MAX_PATTERN_STEPS = 5_000;

/**
 * Compiles a regular expression (RE2 syntax) that runs in linear time on any text; INVALID_ARGUMENT
 * names `field` and what is wrong with the pattern. Patterns longer than 1,000 characters, or whose
 * repetitions unfold to more than 5,000 steps, are refused: each step costs time per character of text.
 */
export function linearPattern(source: string, field: string): Pattern {
  return compilePattern(source, field).matches;
}

/** {@link linearPattern} with the pattern's costs. */
export function compilePattern(source: string, field: string): CompiledPattern {
  if (source.length > MAX_PATTERN_LENGTH) {
    refuse(field, `bad pattern: expected at most ${MAX_PATTERN_LENGTH} characters`);
  }
  const compiled = compileRe2(source, field);
  const steps = compiled.programSize();
  if (steps > MAX_PATTERN_STEPS) {
    refuse(field, "bad pattern: its repetitions unfold to too many steps");
  }
  return { matches: (text) => compiled.matcher(text).find(), steps };
}

/** The `$regex` and `$options` of a filter as one pattern's source; throws INVALID_ARGUMENT. */
export function patternSource(pattern: unknown, options: unknown, field: string): string {
  if (typeof pattern !== "string") {
    refuse(field, `$regex: expected a string, got ${typeName(pattern)}`);
  }
  const flags = options ?? "";
  if (typeof flags !== "string" || !/^[ims]*$/.test(flags)) {
    refuse(field, "$options: expected letters of i, m, s");
  }
  return flags === "" ? pattern : `(?${flags})${pattern}`;
}

/** mingo's query operator for compiled patterns. */
export function findsPattern(path: string, pattern: Pattern): (document: object) => boolean {
  const keys = path.split(".");
  return (document) => hasTextAt(document, keys, pattern);
}

/** Values that are looked at with the path from one of its keys on. */
interface Places {
  readonly values: readonly unknown[];
  readonly key: number;
  next: number;
}

/**
 * Whether one of the strings at a path matches; an array on the way stands for each of its items, or one by its
 * index. Both ways can lead to the same place: each is looked at once, so that the time is linear in the
 * document for each key of the path.
 */
function hasTextAt(document: unknown, keys: readonly string[], pattern: Pattern): boolean {
  const seen = keys.some(isIndex) ? [...keys, ""].map(() => new Set<unknown>()) : [];
  const waiting: Places[] = [{ values: [document], key: 0, next: 0 }];
  for (let places = waiting.at(-1); places !== undefined; places = waiting.at(-1)) {
    if (places.next === places.values.length) {
      waiting.pop();
      continue;
    }
    const value = places.values[places.next++];
    const key = keys[places.key];
    if (key === undefined && typeof value === "string" && pattern(value)) return true;
    if (typeof value !== "object" || value === null || seen[places.key]?.has(value)) continue;
    seen[places.key]?.add(value);
    if (Array.isArray(value)) waiting.push({ values: value, key: places.key, next: 0 });
    const child = childOf(value, key);
    if (child.length > 0) waiting.push({ values: child, key: places.key + 1, next: 0 });
  }
  return false;
}

/** The value of a key, or of an index of an array, when it is there. */
function childOf(value: object, key: string | undefined): readonly unknown[] {
  if (key === undefined) return [];
  if (Array.isArray(value)) return isIndex(key) ? value.slice(Number(key), Number(key) + 1) : [];
  return isJsonObject(value) && Object.hasOwn(value, key) ? [value[key]] : [];
}

function isIndex(key: string): boolean {
  return /^\d+$/.test(key);
}

function compileRe2(source: string, field: string): RE2JS {
  try {
    return RE2JS.compile(source);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BerthError("INVALID_ARGUMENT", `${field}: bad pattern: ${why}`, { cause });
  }
}

function refuse(field: string, why: string): never {
  throw new BerthError("INVALID_ARGUMENT", `${field}: ${why}`);
}
