import { BerthError, compilePattern, isJsonObject, typeName } from "@berth/service-kit";
import type { DocumentLook, FieldPath } from "./document-look.ts";
import { TOO_LONG, type Verdict } from "./query-steps.ts";
import {
  asNumber,
  type Compare,
  holdsPattern,
  isInRange,
  sameAsAny,
  type ValueTest,
} from "./value-tests.ts";

/**
 * Looks whether a document matches. Pauses every few thousand steps, so that others can have their turn, and
 * ends undecided when there are no steps left.
 */
export type Query = (look: DocumentLook) => Generator<void, Verdict>;

/** Deepest nesting of a query. */
export const MAX_QUERY_DEPTH = 32;
/** Most conditions and groups of a query. */
export const MAX_QUERY_NODES = 1_000;
/** Most scalars, members and items in the values of a query: each costs time for each cluster. */
export const MAX_QUERY_VALUES = 10_000;
/** Most LIKE conditions of a query. */
export const MAX_QUERY_PATTERNS = 32;

/** Members of a group, an aggregate and a condition. */
const GROUP = ["logicalOperator", "conditions"];
const AGGREGATE = ["aggOperator", "target", "operator", "value"];
const CONDITION = ["variable", "operator", "value"];
const LOGICAL_OPERATORS = ["AND", "OR"];
const AGGREGATE_OPERATORS = ["count", "avg", "sum", "min", "max"];
const COMPARISONS: ReadonlyMap<unknown, Compare> = new Map([
  ["==", (a: number, b: number) => a === b],
  ["!=", (a: number, b: number) => a !== b],
  ["<", (a: number, b: number) => a < b],
  ["<=", (a: number, b: number) => a <= b],
  [">", (a: number, b: number) => a > b],
  [">=", (a: number, b: number) => a >= b],
]);
const COMPARISON_NAMES = [...COMPARISONS.keys()].map(String);
const OPERATORS = [...COMPARISON_NAMES, "IN", "LIKE"];

interface Walk {
  readonly path: string;
  readonly depth: number;
  /** Aggregates are for metrics only. */
  readonly aggregates: boolean;
  readonly budget: { nodes: number; values: number; patterns: number };
}

/**
 * Compiles a query of the existing search server: `{variable, operator, value}`, `{logicalOperator,
 * conditions}` nested, and with `aggregates` also `{aggOperator, target, operator, value}`. Values match
 * as in MongoDB, with numbers in text read as numbers where the document holds a number. `LIKE` takes
 * `*` as a wildcard, matches anywhere in the text and runs in linear time. Throws INVALID_ARGUMENT that
 * names the place.
 */
export function compileQuery(
  query: unknown,
  options: { readonly path: string; readonly aggregates: boolean },
): Query {
  return compile(query, {
    ...options,
    depth: 1,
    budget: { nodes: MAX_QUERY_NODES, values: MAX_QUERY_VALUES, patterns: MAX_QUERY_PATTERNS },
  });
}

function compile(query: unknown, walk: Walk): Query {
  walk.budget.nodes -= 1;
  if (walk.budget.nodes < 0) refuse(walk.path, `the query has more than ${MAX_QUERY_NODES} nodes`);
  if (walk.depth > MAX_QUERY_DEPTH) {
    refuse(walk.path, `the query is nested deeper than ${MAX_QUERY_DEPTH} levels`);
  }
  if (!isJsonObject(query)) refuse(walk.path, `expected an object, got ${typeName(query)}`);
  refuseOperators(query, walk.path);
  const [compilePart, members] = partOf(query);
  const compiled = compilePart(query, walk);
  refuseOthers(query, members, walk.path);
  return compiled;
}

function partOf(query: Readonly<Record<string, unknown>>) {
  if ("logicalOperator" in query) return [compileLogical, GROUP] as const;
  if ("aggOperator" in query) return [compileAggregate, AGGREGATE] as const;
  return [compileSimple, CONDITION] as const;
}

/** A member that is not read would ask for more than the query does. */
function refuseOthers(
  query: Readonly<Record<string, unknown>>,
  members: readonly string[],
  path: string,
): void {
  const other = Object.keys(query).find((key) => !members.includes(key));
  if (other === undefined) return;
  refuse(`${path}.${other.slice(0, 60)}`, `unknown field; expected ${members.join(", ")}`);
}

function compileLogical(query: Record<string, unknown>, walk: Walk): Query {
  const { logicalOperator, conditions } = query;
  if (!LOGICAL_OPERATORS.includes(logicalOperator as string)) {
    const found = `Unsupported logical operator: ${describe(logicalOperator)}`;
    refuse(`${walk.path}.logicalOperator`, `${found}; expected AND or OR`);
  }
  if (!Array.isArray(conditions) || conditions.length === 0) {
    refuse(`${walk.path}.conditions`, "expected a non-empty array");
  }
  const parts = conditions.map((condition, index) =>
    compile(condition, {
      ...walk,
      path: `${walk.path}.conditions[${index}]`,
      depth: walk.depth + 1,
    }),
  );
  return untilOneIs(logicalOperator === "OR", parts);
}

/** A group: the verdict of the first part that settles it, and of the last one otherwise. */
function untilOneIs(settling: boolean, parts: readonly Query[]): Query {
  return function* (look) {
    for (const part of parts) {
      const verdict = yield* part(look);
      if (verdict !== !settling) return verdict;
    }
    return !settling;
  };
}

function compileAggregate(query: Record<string, unknown>, walk: Walk): Query {
  const { path } = walk;
  if (!walk.aggregates) refuse(`${path}.aggOperator`, "aggregates are for clusterMetricsQuery");
  const { aggOperator, operator, value } = query;
  if (!AGGREGATE_OPERATORS.includes(aggOperator as string)) {
    const found = `Unsupported aggregate: ${describe(aggOperator)}`;
    refuse(`${path}.aggOperator`, `${found}; expected one of ${AGGREGATE_OPERATORS.join(", ")}`);
  }
  const target = pathOf(query.target, `${path}.target`);
  const compare = COMPARISONS.get(operator);
  if (compare === undefined) refuseOperator(operator, path, COMPARISON_NAMES);
  const wanted = asNumber(value);
  if (wanted === undefined) {
    refuse(`${path}.value`, `expected a number, got ${typeName(value)}`);
  }
  return function* (look) {
    const leaves = yield* look.leavesAt(target);
    if (typeof leaves === "string" || !look.steps.take(leaves.length)) return TOO_LONG;
    const result = aggregate(aggOperator as string, leaves);
    return result !== undefined && compare(result, wanted);
  };
}

/** A sum or count of nothing is 0; an average or extreme of nothing is no value and matches nothing. */
function aggregate(operator: string, leaves: readonly unknown[]): number | undefined {
  if (operator === "count") return leaves.length;
  const numbers = leaves.filter((leaf) => typeof leaf === "number");
  const sum = numbers.reduce((total, number) => total + number, 0);
  if (operator === "sum") return sum;
  if (numbers.length === 0) return undefined;
  if (operator === "avg") return sum / numbers.length;
  const better = operator === "min" ? Math.min : Math.max;
  return numbers.reduce((best, number) => better(best, number));
}

function compileSimple(query: Record<string, unknown>, walk: Walk): Query {
  const { path } = walk;
  const variable = pathOf(query.variable, `${path}.variable`);
  const { operator, value } = query;
  if (typeof operator !== "string" || !OPERATORS.includes(operator)) {
    refuseOperator(operator, path, OPERATORS);
  }
  if (!("value" in query)) refuse(`${path}.value`, "required field is missing");
  chargeValue(value, operator, walk);
  const one = anyAt(variable, compileTest(operator, value, path));
  if (operator !== "!=") return one;
  return function* (look) {
    const verdict = yield* one(look);
    return typeof verdict === "boolean" ? !verdict : verdict;
  };
}

/** Whether one of the values of a path is what is asked for. */
function anyAt(path: FieldPath, test: ValueTest): Query {
  return function* (look) {
    const values = yield* look.valuesAt(path);
    if (typeof values === "string") return values;
    for (const value of values) {
      const verdict = test(value, look.steps);
      if (verdict !== false) return verdict;
      if (look.steps.isPauseDue()) yield;
    }
    return false;
  };
}

/** Refuses a query whose values, all together, would take long to compare. */
function chargeValue(value: unknown, operator: string, { path, budget }: Walk): void {
  if (operator === "LIKE") budget.patterns -= 1;
  if (budget.patterns < 0) {
    refuse(path, `the query has more than ${MAX_QUERY_PATTERNS} LIKE conditions`);
  }
  const waiting: unknown[] = [value];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    budget.values -= 1;
    if (budget.values < 0) {
      refuse(`${path}.value`, `the query's values hold more than ${MAX_QUERY_VALUES} items`);
    }
    if (typeof next !== "object" || next === null) continue;
    if (isJsonObject(next)) refuseOperators(next, `${path}.value`);
    for (const item of Object.values(next).slice(0, MAX_QUERY_VALUES + 1)) {
      waiting.push(item ?? null);
    }
  }
}

function compileTest(operator: string, value: unknown, path: string): ValueTest {
  if (operator === "LIKE") {
    if (typeof value !== "string") {
      refuse(`${path}.value`, `LIKE needs a string, got ${typeName(value)}`);
    }
    const pattern = value.replaceAll(".", "\\.").replaceAll("*", ".*");
    return holdsPattern(compilePattern(pattern, `${path}.value`));
  }
  if (operator === "IN") {
    if (!Array.isArray(value)) {
      refuse(`${path}.value`, `IN needs an array, got ${typeName(value)}`);
    }
    return sameAsAny(value);
  }
  const compare = COMPARISONS.get(operator);
  if (operator === "==" || operator === "!=" || compare === undefined) return sameAsAny([value]);
  return isInRange(value, compare);
}

/** Operators of MongoDB are not read: taking them for data would leave them out in silence. */
function refuseOperators(query: Readonly<Record<string, unknown>>, path: string): void {
  const name = Object.keys(query).find((key) => key.startsWith("$"));
  if (name === undefined) return;
  refuse(`${path}.${name.slice(0, 40)}`, "operators of MongoDB are not supported here");
}

function pathOf(value: unknown, field: string): FieldPath {
  if (typeof value === "string" && value !== "" && value.length <= 512) {
    const keys = value.split(".");
    const operator = keys.find((key) => key.startsWith("$"));
    if (operator !== undefined)
      refuse(field, `expected a field path, got the operator ${operator.slice(0, 40)}`);
    return { name: value, keys };
  }
  return refuse(field, `expected a field path, got ${value === "" ? "nothing" : typeName(value)}`);
}

function refuseOperator(operator: unknown, path: string, known: readonly string[]): never {
  const found = `Unsupported operator: ${describe(operator)}`;
  return refuse(`${path}.operator`, `${found}; expected one of ${known.join(" ")}`);
}

function describe(value: unknown): string {
  return typeof value === "string" ? value.slice(0, 40) : typeName(value);
}

function refuse(path: string, why: string): never {
  throw new BerthError("INVALID_ARGUMENT", `${path}: ${why}`);
}
