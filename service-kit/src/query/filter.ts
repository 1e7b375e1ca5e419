import { Context, Query } from "mingo";
import * as arrayOperators from "mingo/operators/query/array";
import * as comparisonOperators from "mingo/operators/query/comparison";
import * as elementOperators from "mingo/operators/query/element";
import * as logicalOperators from "mingo/operators/query/logical";
import { RE2JS } from "re2js";
import { BerthError } from "../errors.ts";
import { isJsonObject } from "../json.ts";
import { typeName } from "../validate.ts";

/** Whether a document matches a compiled filter. */
export type DocumentFilter = (document: object) => boolean;

/** Deepest nesting of a filter. */
export const MAX_FILTER_DEPTH = 32;
/** Most keys and values of a filter. */
export const MAX_FILTER_NODES = 1_000;
const MAX_PATTERN_LENGTH = 1_000;

const OPERATORS = {
  ...comparisonOperators,
  ...logicalOperators,
  ...elementOperators,
  ...arrayOperators,
};
const ALLOWED = new Set([...Object.keys(OPERATORS), "$regex", "$options"]);

const context = Context.init({
  query: { ...OPERATORS, $re2: matchesPattern as never },
});

/**
 * Compiles a MongoDB-style filter: comparison, logical, element and array operators, dotted paths,
 * and `$regex` on a linear-time engine (RE2 syntax). Throws INVALID_ARGUMENT that names the operator
 * or limit; `$where`, `$expr` and every other unlisted operator are refused.
 */
export function compileFilter(filter: unknown, field = "query"): DocumentFilter {
  if (!isJsonObject(filter)) {
    const got = typeName(filter);
    throw new BerthError("INVALID_ARGUMENT", `${field}: expected an object, got ${got}`);
  }
  const budget = { nodes: MAX_FILTER_NODES };
  const prepared = prepare(filter, { field, depth: 1, budget });
  try {
    const query = new Query(prepared as Record<string, never>, { context });
    return (document) => query.test(document as Record<string, never>);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BerthError("INVALID_ARGUMENT", `${field}: ${why}`, { cause });
  }
}

interface Walk {
  readonly field: string;
  readonly depth: number;
  readonly budget: { nodes: number };
}

function prepare(value: unknown, walk: Walk): unknown {
  walk.budget.nodes -= 1;
  if (walk.budget.nodes < 0) refuse(walk.field, `more than ${MAX_FILTER_NODES} nodes`);
  if (walk.depth > MAX_FILTER_DEPTH) {
    refuse(walk.field, `nested deeper than ${MAX_FILTER_DEPTH} levels`);
  }
  const inner = { ...walk, depth: walk.depth + 1 };
  if (Array.isArray(value)) return value.map((item) => prepare(item, inner));
  if (!isJsonObject(value)) return value;
  const out: Record<string, unknown> = {};
  for (const [key, child] of Object.entries(value)) {
    if (key.startsWith("$") && !ALLOWED.has(key)) {
      refuse(walk.field, `operator ${JSON.stringify(key)} is not supported`);
    }
    if (key === "$regex") out.$re2 = compilePattern(child, value.$options, walk.field);
    else if (key !== "$options") out[key] = prepare(child, inner);
  }
  return out;
}

function compilePattern(pattern: unknown, options: unknown, field: string): Pattern {
  if (typeof pattern !== "string" || pattern.length > MAX_PATTERN_LENGTH) {
    refuse(field, `$regex: expected a string of at most ${MAX_PATTERN_LENGTH} characters`);
  }
  const flags = options ?? "";
  if (typeof flags !== "string" || !/^[ims]*$/.test(flags)) {
    refuse(field, "$options: expected letters of i, m, s");
  }
  return linearPattern(flags === "" ? pattern : `(?${flags})${pattern}`, field);
}

/** A compiled pattern as a value that mingo passes through unchanged. */
type Pattern = (text: string) => boolean;

/**
 * Compiles a regular expression (RE2 syntax) that runs in linear time on any text; INVALID_ARGUMENT
 * names `field` and what is wrong with the pattern.
 */
export function linearPattern(source: string, field: string): (text: string) => boolean {
  try {
    const compiled = RE2JS.compile(source);
    return (text) => compiled.matcher(text).find();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BerthError("INVALID_ARGUMENT", `${field}: bad pattern: ${why}`, { cause });
  }
}

function matchesPattern(path: string, pattern: Pattern): DocumentFilter {
  return (document) => valuesAt(document, path.split(".")).some((value) => pattern(value));
}

function valuesAt(value: unknown, path: readonly string[]): readonly string[] {
  if (Array.isArray(value)) return value.flatMap((item) => valuesAt(item, path));
  const [key, ...rest] = path;
  if (key === undefined) return typeof value === "string" ? [value] : [];
  return isJsonObject(value) ? valuesAt(value[key], rest) : [];
}

function refuse(field: string, why: string): never {
  throw new BerthError("INVALID_ARGUMENT", `${field}: ${why}`);
}
