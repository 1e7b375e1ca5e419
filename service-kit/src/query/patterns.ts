import { RE2JS } from "re2js";
import { BerthError } from "../errors.ts";
import { typeName } from "../validate.ts";
import { someAt } from "./path-values.ts";

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
  const holds = (value: unknown): boolean =>
    Array.isArray(value) ? value.some(holds) : typeof value === "string" && pattern(value);
  return (document) => someAt(document, keys, holds);
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
