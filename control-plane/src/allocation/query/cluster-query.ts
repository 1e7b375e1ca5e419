import { BerthError, isJsonObject, linearPattern, typeName } from "@berth/service-kit";
import { leavesAt, valuesAt } from "./paths.ts";

/** Whether a document matches. */
export type Predicate = (document: unknown) => boolean;

/** Deepest nesting of a query. */
export const MAX_QUERY_DEPTH = 32;
/** Most conditions and groups of a query. */
export const MAX_QUERY_NODES = 1_000;
/** Most scalars, members and items in the values of a query: each costs time for each cluster. */
export const MAX_QUERY_VALUES = 10_000;
/** Most LIKE conditions of a query. */
export const MAX_QUERY_PATTERNS = 32;

const LOGICAL_OPERATORS = ["AND", "OR"];
const AGGREGATE_OPERATORS = ["count", "avg", "sum", "min", "max"];
const COMPARISONS: ReadonlyMap<unknown, (a: number, b: number) => boolean> = new Map([
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
): Predicate {
  return compile(query, {
    ...options,
    depth: 1,
    budget: { nodes: MAX_QUERY_NODES, values: MAX_QUERY_VALUES, patterns: MAX_QUERY_PATTERNS },
  });
}

function compile(query: unknown, walk: Walk): Predicate {
  walk.budget.nodes -= 1;
  if (walk.budget.nodes < 0) refuse(walk.path, `the query has more than ${MAX_QUERY_NODES} nodes`);
  if (walk.depth > MAX_QUERY_DEPTH) {
    refuse(walk.path, `the query is nested deeper than ${MAX_QUERY_DEPTH} levels`);
  }
  if (!isJsonObject(query)) refuse(walk.path, `expected an object, got ${typeName(query)}`);
  if ("logicalOperator" in query) return compileLogical(query, walk);
  if ("aggOperator" in query) return compileAggregate(query, walk);
  return compileSimple(query, walk);
}

function compileLogical(query: Record<string, unknown>, walk: Walk): Predicate {
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
  return logicalOperator === "AND"
    ? (document) => parts.every((matches) => matches(document))
    : (document) => parts.some((matches) => matches(document));
}

function compileAggregate(query: Record<string, unknown>, walk: Walk): Predicate {
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
  return (document) => {
    const result = aggregate(aggOperator as string, leavesAt(document, target));
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

function compileSimple(query: Record<string, unknown>, walk: Walk): Predicate {
  const { path } = walk;
  const variable = pathOf(query.variable, `${path}.variable`);
  const { operator, value } = query;
  if (typeof operator !== "string" || !OPERATORS.includes(operator)) {
    refuseOperator(operator, path, OPERATORS);
  }
  if (!("value" in query)) refuse(`${path}.value`, "required field is missing");
  chargeValue(value, operator, walk);
  const matches = compileTest(operator, value, path);
  if (operator === "!=") return (document) => !valuesAt(document, variable).some(matches);
  return (document) => valuesAt(document, variable).some(matches);
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
    for (const item of Object.values(next).slice(0, MAX_QUERY_VALUES + 1)) {
      waiting.push(item ?? null);
    }
  }
}

function compileTest(operator: string, value: unknown, path: string): Predicate {
  if (operator === "LIKE") {
    if (typeof value !== "string") {
      refuse(`${path}.value`, `LIKE needs a string, got ${typeName(value)}`);
    }
    const pattern = value.replaceAll(".", "\\.").replaceAll("*", ".*");
    const matches = linearPattern(pattern, `${path}.value`);
    return (found) => typeof found === "string" && matches(found);
  }
  if (operator === "IN") {
    if (!Array.isArray(value)) {
      refuse(`${path}.value`, `IN needs an array, got ${typeName(value)}`);
    }
    return sameAsAny(value);
  }
  if (operator === "==" || operator === "!=") return sameAsAny([value]);
  const compare = COMPARISONS.get(operator);
  return (found) => compare !== undefined && isInRange(found, value, compare);
}

/** Range operators compare within one type only: numbers, or texts by code point. */
function isInRange(found: unknown, value: unknown, compare: (a: number, b: number) => boolean) {
  if (typeof found === "string" && typeof value === "string") {
    return compare(found === value ? 0 : found < value ? -1 : 1, 0);
  }
  const number = typeof found === "number" ? asNumber(value) : undefined;
  return number !== undefined && compare(found as number, number);
}

/** Whether a value is one of the items: by value, numbers also when the item has them as text. */
function sameAsAny(items: readonly unknown[]): Predicate {
  const scalars = new Set<unknown>();
  const numbers = new Set<number>();
  const texts = new Set<string>();
  for (const item of items) {
    const number = asNumber(item);
    if (number !== undefined) numbers.add(number);
    if (typeof item === "object" && item !== null) texts.add(JSON.stringify(item));
    else scalars.add(item);
  }
  return (found) => {
    if (typeof found === "number") return numbers.has(found);
    if (typeof found !== "object" || found === null) return scalars.has(found);
    return texts.size > 0 && texts.has(JSON.stringify(found));
  };
}

/** A number, also one in text: the existing registry casts by its schema, and shipped samples rely on it. */
function asNumber(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value !== "string" || value.trim() === "") return undefined;
  const number = Number(value);
  return Number.isFinite(number) ? number : undefined;
}

function pathOf(value: unknown, field: string): readonly string[] {
  if (typeof value === "string" && value !== "" && value.length <= 512) return value.split(".");
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
