import { isJsonObject } from "@berth/service-kit";
import type { NeededValue, Scalar } from "./metrics-columns.ts";

/** Grows while a view stays what it is, so its values are not remembered. */
const AGE = "age_ms";
/** The others are left to the filter: a look at these takes no more than milliseconds, however large the cluster. */
const MAX_NEEDS = 8;
/** Gathered from nodes and GPUs, which are many. */
const MANY = /^(nodes|node_metrics)\./;

type ScalarTest = (value: Scalar) => boolean;

/**
 * What a document must hold to match a filter, as far as that is said by comparisons with single values: a document
 * that does not hold one of these need not be looked at with the filter itself. What is cheap to look at comes
 * first. The filter has been checked.
 */
export function neededValues(filter: Readonly<Record<string, unknown>>): readonly NeededValue[] {
  const needs = needsOf(filter, "");
  const ordered = [
    ...needs.filter(({ path }) => !MANY.test(path)),
    ...needs.filter(({ path }) => MANY.test(path)),
  ];
  return ordered.slice(0, MAX_NEEDS);
}

function needsOf(filter: Readonly<Record<string, unknown>>, prefix: string): NeededValue[] {
  return Object.entries(filter).flatMap(([key, condition]) => {
    if (key === "$and" && Array.isArray(condition)) {
      return condition.filter(isJsonObject).flatMap((part) => needsOf(part, prefix));
    }
    return key.startsWith("$") ? [] : needsAt(prefix + key, condition);
  });
}

function needsAt(path: string, condition: unknown): NeededValue[] {
  const keys = path.split(".");
  if (path === AGE || keys.some(isIndex)) return [];
  if (isScalar(condition)) return [{ path, keys, test: (value) => value === condition }];
  if (!isJsonObject(condition)) return [];
  return Object.entries(condition).flatMap(([operator, operand]) => {
    if (operator === "$elemMatch") return isJsonObject(operand) ? ofItem(path, operand) : [];
    const test = testOf(operator, operand);
    return test === undefined ? [] : [{ path, keys, test }];
  });
}

/** What the item that matches must hold, the list as a whole holds. */
function ofItem(path: string, condition: Readonly<Record<string, unknown>>): NeededValue[] {
  const isOfFields = Object.keys(condition).every((key) => !key.startsWith("$"));
  return isOfFields ? needsOf(condition, `${path}.`) : [];
}

/** Undefined for operators that a document can pass without such a value, or that compare other than scalars. */
function testOf(operator: string, operand: unknown): ScalarTest | undefined {
  switch (operator) {
    case "$eq":
      return isScalar(operand) ? (value) => value === operand : undefined;
    case "$in": {
      if (!Array.isArray(operand) || !operand.every(isScalar)) return undefined;
      const wanted = new Set<Scalar>(operand);
      return (value) => wanted.has(value);
    }
    case "$gt":
      return ofNumber(operand, (value, limit) => value > limit);
    case "$gte":
      return ofNumber(operand, (value, limit) => value >= limit);
    case "$lt":
      return ofNumber(operand, (value, limit) => value < limit);
    case "$lte":
      return ofNumber(operand, (value, limit) => value <= limit);
    default:
      return undefined;
  }
}

function ofNumber(
  limit: unknown,
  compare: (value: number, limit: number) => boolean,
): ScalarTest | undefined {
  if (typeof limit !== "number") return undefined;
  return (value) => typeof value === "number" && compare(value, limit);
}

function isScalar(value: unknown): value is Scalar {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}

function isIndex(key: string): boolean {
  return /^\d+$/.test(key);
}
