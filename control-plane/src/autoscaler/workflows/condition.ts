import { isJsonObject, toNumber } from "@berth/service-kit";
import { type Body, invalid, pathOf, shown } from "./workflow-body.ts";

const OPERATORS = ["eq", "ne", "gt", "gte", "lt", "lte", "exists", "truthy"] as const;

/** How a condition compares what it finds. */
export type Operator = (typeof OPERATORS)[number];

/** One condition on the output of a module that ran before. */
export interface Condition {
  /** Key of the module. */
  readonly output: string;
  /** Keys and indexes down to the value; empty for the whole output. */
  readonly path: readonly string[];
  readonly op: Operator;
  /** What is compared with; undefined where the operator compares nothing. */
  readonly value: unknown;
}

const MAX_CONDITIONS = 16;
const MAX_PATH_STEPS = 32;
const FIELDS: readonly string[] = ["output", "path", "op", "value"];

/**
 * Reads `when`: one condition or a list of them, all of which must hold. Without `op` a condition with a `value` is
 * `eq`, any other one is `truthy`. INVALID_ARGUMENT names the field.
 */
export function readConditions(value: unknown, field: string): readonly Condition[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) return [readCondition(value, field)];
  if (value.length > MAX_CONDITIONS) {
    throw invalid(`${field}: expected at most ${MAX_CONDITIONS} conditions, got ${value.length}`);
  }
  return value.map((item: unknown, index) => readCondition(item, `${field}[${index}]`));
}

function readCondition(value: unknown, field: string): Condition {
  if (!isJsonObject(value)) {
    throw invalid(`${field}: expected a condition with "output", got ${shown(value)}`);
  }
  const unknown = Object.keys(value).find((key) => !FIELDS.includes(key));
  // A condition that says less than was meant would run what must not run.
  if (unknown !== undefined) {
    throw invalid(`${pathOf(field, unknown)}: expected one of ${FIELDS.join(", ")}`);
  }
  const { output } = value;
  if (typeof output !== "string") {
    throw invalid(`${field}.output: expected the name of a module, got ${shown(output)}`);
  }
  return { output, path: readPath(value.path, `${field}.path`), ...readComparison(value, field) };
}

function readComparison(value: Body, field: string): Pick<Condition, "op" | "value"> {
  const hasValue = value.value !== undefined;
  const given = value.op ?? (hasValue ? "eq" : "truthy");
  const op = OPERATORS.find((known) => known === given);
  if (op === undefined) {
    throw invalid(`${field}.op: expected one of ${OPERATORS.join(", ")}, got ${shown(given)}`);
  }
  const takesNone = op === "exists" || op === "truthy";
  if (takesNone && hasValue) throw invalid(`${field}.value: ${op} compares with no value`);
  if (!takesNone && !hasValue) throw invalid(`${field}.value: ${op} expects a value`);
  const takesNumber = !takesNone && op !== "eq" && op !== "ne";
  if (takesNumber && toNumber(value.value) === undefined) {
    throw invalid(`${field}.value: ${op} expects a number, got ${shown(value.value)}`);
  }
  return { op, value: value.value };
}

function readPath(value: unknown, field: string): readonly string[] {
  if (value === undefined || value === null || value === "") return [];
  if (typeof value !== "string") {
    throw invalid(`${field}: expected keys joined by points, got ${shown(value)}`);
  }
  const steps = value.split(".");
  if (steps.includes("")) throw invalid(`${field}: expected a key between points, got none`);
  if (steps.length <= MAX_PATH_STEPS) return steps;
  throw invalid(`${field}: expected at most ${MAX_PATH_STEPS} keys, got ${steps.length}`);
}

/**
 * Whether a condition holds among the outputs that are there. One on an output or a path that is not there does not
 * hold, whatever its operator. Numbers are compared by their value (3 is 3.0), everything else as JSON; truth is that
 * of Python, where 0, "", [], {} and null are false.
 */
export function holds(condition: Condition, outputs: ReadonlyMap<string, unknown>): boolean {
  const found = valueIn(outputs.get(condition.output), condition.path);
  if (found === undefined) return false;
  switch (condition.op) {
    case "exists":
      return true;
    case "truthy":
      return isTruthy(found);
    case "eq":
      return isEqual(found, condition.value);
    case "ne":
      return !isEqual(found, condition.value);
    default:
      return compares(condition.op, toNumber(found), toNumber(condition.value));
  }
}

/** Whether Python would take a JSON value for true. */
export function isTruthy(value: unknown): boolean {
  const number = toNumber(value);
  if (number !== undefined) return number !== 0;
  if (Array.isArray(value)) return value.length > 0;
  if (isJsonObject(value)) return Object.keys(value).length > 0;
  return Boolean(value);
}

function compares(
  op: "gt" | "gte" | "lt" | "lte",
  found: number | undefined,
  value: number | undefined,
): boolean {
  if (found === undefined || value === undefined) return false;
  if (op === "gt") return found > value;
  if (op === "gte") return found >= value;
  return op === "lt" ? found < value : found <= value;
}

function valueIn(root: unknown, path: readonly string[]): unknown {
  let value = root;
  for (const step of path) {
    if (Array.isArray(value)) value = /^\d{1,9}$/.test(step) ? value[Number(step)] : undefined;
    // What every object inherits is no output.
    else value = isJsonObject(value) && Object.hasOwn(value, step) ? value[step] : undefined;
  }
  return value;
}

function isEqual(one: unknown, other: unknown): boolean {
  const number = toNumber(one);
  if (number !== undefined) return number === toNumber(other);
  if (Array.isArray(one)) {
    if (!Array.isArray(other) || one.length !== other.length) return false;
    return one.every((item, index) => isEqual(item, other[index]));
  }
  if (!isJsonObject(one)) return one === other;
  const keys = Object.keys(one);
  if (!isJsonObject(other) || Object.keys(other).length !== keys.length) return false;
  return keys.every((key) => Object.hasOwn(other, key) && isEqual(one[key], other[key]));
}
