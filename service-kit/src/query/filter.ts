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
const LOGICAL = new Set(["$and", "$or", "$nor"]);
const ALLOWED = new Set([...Object.keys(OPERATORS), "$regex", "$options"]);

const TYPES = ["array", "bool", "boolean", "double", "int", "long", "null", "number"].concat([
  "object",
  "string",
  "undefined",
]);
const MAX_PATTERN_PROGRAM = 5_000;

/** Operators beside mingo's own that a prepared filter uses: `$re2`, never written by a client. */
export const PATTERN_OPERATORS = { $re2: matchesPattern as never };

const context = Context.init({ query: { ...OPERATORS, ...PATTERN_OPERATORS } });

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
  const operator = Object.keys(filter).find((key) => ALLOWED.has(key) && !LOGICAL.has(key));
  if (operator !== undefined) {
    refuse(field, `${operator} stands below a field: {"field": {"${operator}": …}}`);
  }
  const prepared = prepareFilter(filter, field);
  try {
    const query = new Query(prepared as Record<string, never>, { context });
    return (document) => query.test(document as Record<string, never>);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BerthError("INVALID_ARGUMENT", `${field}: ${why}`, { cause });
  }
}

/**
 * Checks a filter, or a condition of `$pull`, and gives a copy in which each `$regex` is a compiled
 * `$re2` ({@link PATTERN_OPERATORS}). INVALID_ARGUMENT names the operator, operand or limit.
 */
export function prepareFilter(value: unknown, field: string): unknown {
  return prepare(value, { field, depth: 1, budget: { nodes: MAX_FILTER_NODES } });
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
    checkKey(key, value, walk);
    if (key === "$regex") out.$re2 = compilePattern(child, value.$options, walk.field);
    else if (key !== "$options") out[key] = prepare(child, inner);
  }
  return out;
}

function checkKey(key: string, parent: Record<string, unknown>, { field }: Walk): void {
  if (key.split(".").includes("__proto__")) refuse(field, `${JSON.stringify(key)} is not a path`);
  if (!key.startsWith("$")) return;
  if (!ALLOWED.has(key)) refuse(field, `operator ${JSON.stringify(key)} is not supported`);
  if (key === "$options" && !Object.hasOwn(parent, "$regex")) {
    refuse(field, "$options stands only beside $regex");
  }
  const problem = operandProblem(key, parent[key]);
  if (problem !== undefined) refuse(field, `${key}: ${problem}, got ${typeName(parent[key])}`);
}

/** What is wrong with an operator's operand; mingo would throw later, or match nothing. */
function operandProblem(operator: string, operand: unknown): string | undefined {
  switch (operator) {
    case "$and":
    case "$or":
    case "$nor":
      return Array.isArray(operand) && operand.length > 0 && operand.every(isJsonObject)
        ? undefined
        : "expected a non-empty array of objects";
    case "$in":
    case "$nin":
    case "$all":
      return Array.isArray(operand) ? undefined : "expected an array";
    case "$elemMatch":
    case "$not":
      return isJsonObject(operand) ? undefined : "expected an object";
    case "$size":
      return Number.isInteger(operand) ? undefined : "expected a whole number";
    case "$type":
      return [operand].flat().every((type) => typeof type === "string" && TYPES.includes(type))
        ? undefined
        : `expected one of ${TYPES.join(", ")}`;
    default:
      return undefined;
  }
}

function compilePattern(pattern: unknown, options: unknown, field: string): Pattern {
  if (typeof pattern !== "string") {
    refuse(field, `$regex: expected a string, got ${typeName(pattern)}`);
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
 * names `field` and what is wrong with the pattern. Patterns longer than 1,000 characters, or whose
 * repetitions unfold to more than 5,000 steps, are refused: each step costs time per character of text.
 */
export function linearPattern(source: string, field: string): (text: string) => boolean {
  if (source.length > MAX_PATTERN_LENGTH) {
    refuse(field, `bad pattern: expected at most ${MAX_PATTERN_LENGTH} characters`);
  }
  const compiled = compileRe2(source, field);
  if (compiled.programSize() > MAX_PATTERN_PROGRAM) {
    refuse(field, "bad pattern: its repetitions unfold to too many steps");
  }
  return (text) => compiled.matcher(text).find();
}

function compileRe2(source: string, field: string): RE2JS {
  try {
    return RE2JS.compile(source);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BerthError("INVALID_ARGUMENT", `${field}: bad pattern: ${why}`, { cause });
  }
}

function matchesPattern(path: string, pattern: Pattern): DocumentFilter {
  return (document) => valuesAt(document, path.split(".")).some((value) => pattern(value));
}

/** The strings at a path; an array on the way stands for each of its items, or one by its index. */
function valuesAt(value: unknown, path: readonly string[]): readonly string[] {
  const [key, ...rest] = path;
  if (Array.isArray(value)) {
    const one = key !== undefined && /^\d+$/.test(key) ? valuesAt(value[Number(key)], rest) : [];
    return [...one, ...value.flatMap((item) => valuesAt(item, path))];
  }
  if (key === undefined) return typeof value === "string" ? [value] : [];
  return isJsonObject(value) && Object.hasOwn(value, key) ? valuesAt(value[key], rest) : [];
}

function refuse(field: string, why: string): never {
  throw new BerthError("INVALID_ARGUMENT", `${field}: ${why}`);
}
