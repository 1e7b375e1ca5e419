import { BerthError } from "../errors.ts";
import { isJsonObject } from "../json.ts";
import { typeName } from "../validate.ts";
import { type ListOperator, listTest, passesList } from "./list-operators.ts";
import { OPERATOR_NAMES, operandProblem } from "./operands.ts";
import { compilePattern, findsPattern, type Pattern, patternSource } from "./patterns.ts";

/** Deepest nesting of a filter. */
export const MAX_FILTER_DEPTH = 32;
/** Most keys and values of a filter, without those in the lists of `$in`, `$nin` and `$all`. */
export const MAX_FILTER_NODES = 1_000;
/** Most scalars, members and items in the lists of `$in`, `$nin` and `$all`, all lists together. */
export const MAX_FILTER_VALUES = 10_000;
/** Most `$regex` of a filter. */
export const MAX_FILTER_PATTERNS = 100;
/** Most characters of all patterns together. */
export const MAX_FILTER_PATTERN_CHARACTERS = 10_000;
/** Most steps of all patterns together: each costs time for each character of each document. */
export const MAX_FILTER_PATTERN_STEPS = 20_000;

/** Operators beside mingo's own that a prepared filter uses; never written by a client. */
export const PREPARED_OPERATORS = {
  $re2: findsPattern as never,
  $oneOf: passesList as never,
  $noneOf: passesList as never,
  $holdsAll: passesList as never,
};

const PREPARED_LISTS: Readonly<Record<ListOperator, keyof typeof PREPARED_OPERATORS>> = {
  $in: "$oneOf",
  $nin: "$noneOf",
  $all: "$holdsAll",
};
/** Longest path in a message. */
const SHOWN_PATH = 200;

interface Budget {
  nodes: number;
  values: number;
  patterns: number;
  characters: number;
  steps: number;
}

interface Walk {
  /** What the caller calls the filter. */
  readonly field: string;
  /** Keys and indices down to this place. */
  readonly path: string;
  readonly depth: number;
  readonly budget: Budget;
}

/**
 * Checks a filter, or a condition of `$pull`, and gives a copy for {@link PREPARED_OPERATORS}, in which each
 * `$regex` and each list is compiled. INVALID_ARGUMENT names the operator, operand or limit; a limit with the
 * place where it was passed.
 */
export function prepareFilter(value: unknown, field: string): unknown {
  const budget = {
    nodes: MAX_FILTER_NODES,
    values: MAX_FILTER_VALUES,
    patterns: MAX_FILTER_PATTERNS,
    characters: MAX_FILTER_PATTERN_CHARACTERS,
    steps: MAX_FILTER_PATTERN_STEPS,
  };
  return prepare(value, { field, path: field, depth: 1, budget });
}

function prepare(value: unknown, walk: Walk): unknown {
  charge(walk, "nodes", `the query has more than ${MAX_FILTER_NODES} nodes`);
  checkDepth(walk);
  if (Array.isArray(value)) {
    return value.map((item, index) => prepare(item, below(walk, `[${index}]`)));
  }
  if (!isJsonObject(value)) return value;
  const out: Record<string, unknown> = {};
  for (const [key, child] of Object.entries(value)) {
    const inner = below(walk, `.${key}`);
    checkKey(key, value, walk);
    if (key === "$regex") out.$re2 = preparePattern(child, value.$options, inner);
    else if (isListOperator(key) && isPlainList(child)) {
      out[PREPARED_LISTS[key]] = prepareList(key, child, inner);
    } else if (key !== "$options") out[key] = prepare(child, inner);
  }
  return out;
}

function below(walk: Walk, step: string): Walk {
  return { ...walk, path: walk.path + step, depth: walk.depth + 1 };
}

function checkDepth(walk: Walk): void {
  if (walk.depth <= MAX_FILTER_DEPTH) return;
  refuse(shown(walk.path), `the query is nested deeper than ${MAX_FILTER_DEPTH} levels`);
}

function charge(walk: Walk, what: keyof Budget, problem: string, amount = 1): void {
  walk.budget[what] -= amount;
  if (walk.budget[what] < 0) refuse(shown(walk.path), problem);
}

function checkKey(key: string, parent: Record<string, unknown>, { field }: Walk): void {
  if (key.split(".").includes("__proto__")) refuse(field, `${JSON.stringify(key)} is not a path`);
  if (!key.startsWith("$")) return;
  if (!OPERATOR_NAMES.has(key)) refuse(field, `operator ${JSON.stringify(key)} is not supported`);
  if (key === "$options" && !Object.hasOwn(parent, "$regex")) {
    refuse(field, "$options stands only beside $regex");
  }
  const problem = operandProblem(key, parent[key]);
  if (problem !== undefined) refuse(field, `${key}: ${problem}, got ${typeName(parent[key])}`);
}

function isListOperator(key: string): key is ListOperator {
  return Object.hasOwn(PREPARED_LISTS, key);
}

/** A list of values; one of conditions (`$all` with `$elemMatch`) is mingo's. */
function isPlainList(operand: unknown): operand is readonly unknown[] {
  if (!Array.isArray(operand)) return false;
  return !operand.some((item) => isJsonObject(item) && Object.hasOwn(item, "$elemMatch"));
}

function prepareList(operator: ListOperator, items: readonly unknown[], walk: Walk): unknown {
  for (const item of items) checkListed(item, { ...walk, depth: walk.depth + 1 });
  return listTest(operator, items);
}

/** Checks a value of a list and what is in it. */
function checkListed(value: unknown, walk: Walk): void {
  charge(walk, "values", `the query's values hold more than ${MAX_FILTER_VALUES} items`);
  checkDepth(walk);
  const inner = { ...walk, depth: walk.depth + 1 };
  if (Array.isArray(value)) {
    for (const item of value) checkListed(item, inner);
  } else if (isJsonObject(value)) {
    for (const [key, item] of Object.entries(value)) {
      checkKey(key, value, walk);
      checkListed(item, inner);
    }
  }
}

function preparePattern(pattern: unknown, options: unknown, walk: Walk): Pattern {
  const source = patternSource(pattern, options, walk.field);
  const { length } = source;
  charge(walk, "patterns", `the query has more than ${MAX_FILTER_PATTERNS} patterns`);
  const tooLong = `the query's patterns hold more than ${MAX_FILTER_PATTERN_CHARACTERS} characters`;
  charge(walk, "characters", tooLong, length);
  const { matches, steps } = compilePattern(source, shown(walk.path));
  charge(walk, "steps", "the query's patterns unfold to too many steps", steps);
  return matches;
}

function shown(path: string): string {
  return path.length <= SHOWN_PATH ? path : `${path.slice(0, SHOWN_PATH)}…`;
}

function refuse(place: string, why: string): never {
  throw new BerthError("INVALID_ARGUMENT", `${place}: ${why}`);
}
