import {
  BerthError,
  compileFilter,
  type DocumentFilter,
  isJsonObject,
  parseClientJson,
  typeName,
} from "@berth/service-kit";
import { patternWeight, weightOf } from "./metrics-query-cost.ts";

/** A compiled filter over metrics documents: what is cheap to look at first, and the rest. */
export interface MetricsQuery {
  readonly first: DocumentFilter;
  /** Steps of `first` on any cluster. */
  readonly firstSteps: number;
  /** Undefined when `first` is all. */
  readonly rest: DocumentFilter | undefined;
  /** Steps of `rest` for each character of a cluster's metrics. */
  readonly restWeight: number;
}

/** What a client calls the filter, in messages. */
const FIELD = "query";
/** Members of a metrics document that are one value each. */
const SINGLE_VALUES = new Set([
  ...["clusterId", "health", "age_ms", "total_cpu", "used_cpu", "total_memory", "used_memory"],
  ...["total_gpus", "gpu_utilization"],
]);
/** The longest of these values is an id. */
const MAX_SINGLE_CHARACTERS = 256;
const LEAST_STEPS = 1_000;

/**
 * Compiles a MongoDB-style filter over metrics documents (`MetricsDocument.fields`). INVALID_ARGUMENT names
 * the operator or limit.
 */
export function compileMetricsQuery(filter: unknown): MetricsQuery {
  if (!isJsonObject(filter)) {
    const message = `${FIELD}: expected a filter as a JSON object, got ${typeName(filter)}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  // Checks the limits of the whole before it is parted.
  compileFilter(filter, FIELD);
  const [cheap, costly] = parted(filter);
  return {
    first: compileFilter(cheap, FIELD),
    firstSteps: LEAST_STEPS + patternWeight(cheap) * MAX_SINGLE_CHARACTERS,
    rest: Object.keys(costly).length === 0 ? undefined : compileFilter(costly, FIELD),
    restWeight: weightOf(costly),
  };
}

/** The filter of a body: the filter itself, or `{"query": filter}`; everything without a body. */
export function filterOfBody(body: unknown): unknown {
  if (body === undefined) return {};
  if (!isJsonObject(body)) return body;
  const isWrapped = Object.keys(body).length === 1 && isJsonObject(body.query);
  return isWrapped ? body.query : body;
}

/**
 * The filter of a URL's parameters: `filter=<JSON>`, and every other parameter a field's path and the value
 * that it equals, given several times one of these values. Numbers, booleans and null also match as such.
 */
export function filterOfParameters(parameters: Readonly<Record<string, unknown>>): unknown {
  const { filter, ...fields } = parameters;
  const conditions = Object.entries(fields).map(([path, value]): Record<string, unknown> => {
    if (path.startsWith("$")) {
      const message = `${path}: expected a field's path; operators stand in filter=<JSON>`;
      throw new BerthError("INVALID_ARGUMENT", message);
    }
    return { [path]: { $in: [value].flat().flatMap(readings) } };
  });
  if (filter !== undefined) conditions.unshift(parseFilter(filter));
  return merged(conditions);
}

/** Conditions of different fields stand side by side, so that cheap ones are looked at first. */
function merged(conditions: readonly Record<string, unknown>[]): Record<string, unknown> {
  const members = conditions.flatMap((condition) => Object.entries(condition));
  const paths = new Set(members.map(([path]) => path));
  return paths.size === members.length ? Object.fromEntries(members) : { $and: conditions };
}

function parseFilter(text: unknown): Record<string, unknown> {
  const expected = "filter: expected one JSON object";
  if (typeof text !== "string") throw new BerthError("INVALID_ARGUMENT", expected);
  const value = parseJson(text);
  if (isJsonObject(value)) return value;
  throw new BerthError("INVALID_ARGUMENT", `${expected}, got ${typeName(value)}`);
}

function parseJson(text: string): unknown {
  try {
    return parseClientJson(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BerthError("INVALID_ARGUMENT", `filter: ${why}`, { cause });
  }
}

/** What a text in a URL may stand for. */
function readings(text: unknown): readonly unknown[] {
  if (text === "true" || text === "false") return [text, text === "true"];
  if (text === "null") return [text, null];
  const number = typeof text === "string" && text.trim() !== "" ? Number(text) : Number.NaN;
  return Number.isFinite(number) ? [text, number] : [text];
}

/** The conditions on single values, and all others. */
function parted(
  filter: Readonly<Record<string, unknown>>,
): readonly [Record<string, unknown>, Record<string, unknown>] {
  const cheap = Object.entries(filter).filter(isCheap);
  const costly = Object.entries(filter).filter((entry) => !isCheap(entry));
  return [Object.fromEntries(cheap), Object.fromEntries(costly)];
}

function isCheap([path, condition]: readonly [string, unknown]): boolean {
  if (SINGLE_VALUES.has(path)) return true;
  // The cluster's groups hold numbers; what is weighed by their characters is not cheap even there.
  return path.startsWith("cluster.") && weightOf(condition) === 0;
}
