import { MINGO_OPERATORS } from "./operands.ts";
import { someAt } from "./path-values.ts";

/** An operator of mingo's: compiles a condition on a path. */
type Operator = (path: string, operand: unknown, options: unknown) => (document: object) => boolean;

/** Operators that compare one value with their operand. */
const COMPARING = ["$eq", "$gt", "$gte", "$lt", "$lte", "$type", "$size", "$elemMatch"] as const;

/**
 * Operators that look at each value that a path leads to, as MongoDB does. mingo's own take the arrays of values
 * that two arrays on the way make ("nodes.gpus.memory") for values: they would match nothing.
 */
export const NESTED_OPERATORS = {
  ...Object.fromEntries(COMPARING.map((name) => [name, onEachValue(operatorOf(name))])),
  $ne: negated(onEachValue(operatorOf("$eq"))),
} as unknown as Record<string, never>;

function onEachValue(operator: Operator): Operator {
  return (path, operand, options) => {
    if (!path.includes(".")) return operator(path, operand, options);
    const keys = path.split(".");
    const ofValue = operator("value", operand, options);
    const ofMissing = operator(path, operand, options);
    return (document) => {
      let isMissing = true;
      const passes = someAt(document, keys, (value) => {
        isMissing = false;
        return ofValue({ value });
      });
      return isMissing ? ofMissing(document) : passes;
    };
  };
}

function negated(operator: Operator): Operator {
  return (path, operand, options) => {
    const test = operator(path, operand, options);
    return (document) => !test(document);
  };
}

function operatorOf(name: keyof typeof MINGO_OPERATORS): Operator {
  return MINGO_OPERATORS[name] as unknown as Operator;
}
