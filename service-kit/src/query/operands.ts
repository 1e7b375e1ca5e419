import * as arrayOperators from "mingo/operators/query/array";
import * as comparisonOperators from "mingo/operators/query/comparison";
import * as elementOperators from "mingo/operators/query/element";
import * as logicalOperators from "mingo/operators/query/logical";
import { isJsonObject } from "../json.ts";

/** The operators of mingo's that filters may use. */
export const MINGO_OPERATORS = {
  ...comparisonOperators,
  ...logicalOperators,
  ...elementOperators,
  ...arrayOperators,
};

/** Names of all operators that a client may write. */
export const OPERATOR_NAMES: ReadonlySet<string> = new Set([
  ...Object.keys(MINGO_OPERATORS),
  "$regex",
  "$options",
]);

const TYPES = ["array", "bool", "boolean", "double", "int", "long", "null", "number"].concat([
  "object",
  "string",
  "undefined",
]);

/** What is wrong with an operator's operand; mingo would throw later, or match nothing. */
export function operandProblem(operator: string, operand: unknown): string | undefined {
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
