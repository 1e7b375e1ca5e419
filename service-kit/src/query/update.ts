import { Context } from "mingo";
import { updateOne } from "mingo/updater";
import { BerthError } from "../errors.ts";
import { cloneJson, isJsonObject } from "../json.ts";
import { typeName } from "../validate.ts";
import { PREPARED_OPERATORS, prepareFilter } from "./prepare-filter.ts";

const OPERATORS = ["$set", "$unset", "$inc", "$push", "$pull"];
const UNSAFE_KEYS = ["", "__proto__", "constructor", "prototype"];

/**
 * Applies a MongoDB-style update (`$set $unset $inc $push $pull`, or plain fields, which mean `$set`;
 * dotted paths, array items by index) to a copy of a document. Throws INVALID_ARGUMENT that names what
 * does not hold: unknown operators, operators mixed with fields, a change of one of the `immutable`
 * paths (or of what holds it), a path that the document's values do not allow.
 */
export function applyUpdate<T extends object>(
  document: T,
  update: unknown,
  immutable: readonly string[],
): T {
  const modifier = toModifier(update);
  const prepared: Record<string, Record<string, unknown>> = {};
  for (const [operator, fields] of Object.entries(modifier)) {
    prepared[operator] = checkFields(operator, fields, { document, immutable });
  }
  const copy = cloneJson(document);
  // A fresh context: mingo adds its own operators to the one that it is given.
  const context = Context.init({ query: PREPARED_OPERATORS });
  try {
    updateOne([copy] as never, {}, prepared as never, { cloneMode: "deep" }, { context });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BerthError("INVALID_ARGUMENT", `the update does not apply: ${why}`, { cause });
  }
  return copy;
}

function toModifier(update: unknown): Record<string, unknown> {
  if (!isJsonObject(update) || Object.keys(update).length === 0) {
    const message = `the update: expected a non-empty object, got ${typeName(update)}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  const operators = Object.keys(update).filter((key) => key.startsWith("$"));
  if (operators.length === 0) return { $set: update };
  for (const key of Object.keys(update)) {
    if (OPERATORS.includes(key)) continue;
    const why = key.startsWith("$") ? "is not supported" : "cannot stand beside operators";
    const message = `the update: ${JSON.stringify(key)} ${why}; use ${OPERATORS.join(", ")}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  return update;
}

interface Target {
  readonly document: object;
  readonly immutable: readonly string[];
}

function checkFields(operator: string, fields: unknown, target: Target): Record<string, unknown> {
  if (!isJsonObject(fields)) {
    const message = `${operator}: expected an object, got ${typeName(fields)}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  const prepared: Record<string, unknown> = {};
  for (const [path, operand] of Object.entries(fields)) {
    const field = `${operator}.${path}`;
    const problem =
      pathProblem(path, target.immutable) ??
      targetProblem(operator, path.split("."), target.document) ??
      operandProblem(operator, operand);
    if (problem !== undefined) throw new BerthError("INVALID_ARGUMENT", `${field}: ${problem}`);
    prepared[path] = operator === "$pull" ? prepareFilter(operand, field) : operand;
  }
  return prepared;
}

function pathProblem(path: string, immutable: readonly string[]): string | undefined {
  const keys = path.split(".");
  if (keys.some((key) => UNSAFE_KEYS.includes(key) || key.startsWith("$"))) {
    return "not a field path";
  }
  const touches = (fixed: string): boolean =>
    path === fixed || path.startsWith(`${fixed}.`) || fixed.startsWith(`${path}.`);
  return immutable.some(touches) ? "this field cannot be changed" : undefined;
}

/** Why a path leads nowhere in the document; mingo would change nothing and say nothing. */
function targetProblem(
  operator: string,
  path: readonly string[],
  document: unknown,
): string | undefined {
  let value = document;
  for (const [index, key] of path.entries()) {
    if (value === undefined || value === null) return undefined;
    const problem = stepProblem(value, key);
    if (problem !== undefined) return `${path.slice(0, index).join(".")} ${problem}`;
    value = Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
  }
  return valueProblem(operator, value);
}

/** Why there can be no `key` in a value. */
function stepProblem(value: unknown, key: string): string | undefined {
  if (Array.isArray(value)) {
    // An index far beyond the end would fill the gap with millions of nulls.
    const fits = /^(0|[1-9]\d{0,8})$/.test(key) && Number(key) <= value.length;
    return fits ? undefined : `is an array: expected an index from 0 to ${value.length}`;
  }
  return isJsonObject(value) ? undefined : `is a ${typeName(value)}, not an object`;
}

function valueProblem(operator: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if ((operator === "$push" || operator === "$pull") && !Array.isArray(value)) {
    return `expected an array in the document, found ${typeName(value)}`;
  }
  if (operator === "$inc" && typeof value !== "number") {
    return `expected a number in the document, found ${typeName(value)}`;
  }
  return undefined;
}

function operandProblem(operator: string, operand: unknown): string | undefined {
  if (operator === "$inc" && !Number.isFinite(operand)) {
    return `expected a number, got ${typeName(operand)}`;
  }
  return holdsProtoKey(operand) ? 'the key "__proto__" is not allowed' : undefined;
}

function holdsProtoKey(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(value).some(([key, child]) => key === "__proto__" || holdsProtoKey(child));
}
