import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import type { Static, TSchema } from "typebox";
import { BerthError } from "./errors.ts";

const ajv = new Ajv({ allErrors: false, strict: false, coerceTypes: false, useDefaults: false });
const compiled = new WeakMap<object, ValidateFunction>();

/** Result of {@link validate}. */
export type Validation<T> = { kind: "valid"; value: T } | { kind: "invalid"; message: string };

/**
 * Checks a value against a TypeBox (JSON) schema. The message of an invalid one names the field by
 * its path and says what was expected and what was found: `inputs: expected object, got string`.
 * Schemas are the program's own constants: each is compiled to code once and kept.
 */
export function validate<S extends TSchema>(schema: S, value: unknown): Validation<Static<S>> {
  let check = compiled.get(schema);
  if (check === undefined) {
    check = ajv.compile(schema);
    compiled.set(schema, check);
  }
  if (check(value)) return { kind: "valid", value: value as Static<S> };
  return { kind: "invalid", message: describeErrors(check.errors ?? [], value) };
}

/** {@link validate} for callers that let INVALID_ARGUMENT travel to the client. */
export function parse<S extends TSchema>(schema: S, value: unknown): Static<S> {
  const result = validate(schema, value);
  if (result.kind === "invalid") throw new BerthError("INVALID_ARGUMENT", result.message);
  return result.value;
}

/** Name of a JSON value's type, for messages: "array", "null", "string", ... */
export function typeName(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

/**
 * One sentence for the errors of one value. Of a union there is an error per branch: the branches'
 * expectations of the same place are joined, and an error deeper inside (a branch that nearly held)
 * says more than the place itself.
 */
function describeErrors(errors: readonly ErrorObject[], root: unknown): string {
  const branches = errors.filter(({ keyword }) => keyword !== "anyOf" && keyword !== "oneOf");
  const depth = Math.max(...branches.map(depthOf));
  const deepest = branches.filter((error) => depthOf(error) === depth);
  const [first] = deepest;
  if (first === undefined) return errors[0] ? describeError(errors[0], root) : "invalid value";
  const expected = deepest.map(expectation);
  if (deepest.length === 1 || expected.includes(undefined)) return describeError(first, root);
  const path = pathOf(first);
  const choices = [...new Set(expected)].join(" or ");
  const got = deepest.every(({ keyword }) => keyword === "type") ? `, ${found(root, path)}` : "";
  return `${fieldOf(path)}: expected ${choices}${got}`;
}

function describeError(error: ErrorObject, root: unknown): string {
  const path = pathOf(error);
  const params: Record<string, unknown> = error.params;
  const expected = expectation(error);
  if (error.keyword === "type") {
    return `${fieldOf(path)}: expected ${expected}, ${found(root, path)}`;
  }
  if (expected !== undefined) return `${fieldOf(path)}: expected ${expected}`;
  switch (error.keyword) {
    case "required":
      return `${[...path, params.missingProperty].join(".")}: required field is missing`;
    case "additionalProperties":
      return `${[...path, params.additionalProperty].join(".")}: unknown field`;
    default:
      return `${fieldOf(path)}: ${error.message ?? error.keyword}`;
  }
}

/** The pattern of a query parameter that is a whole number. */
const DIGITS_PATTERN = /^\^(?:\\d|\[0-9\])\{1,(\d+)\}\$$/;

/** What a type-like keyword wants: "string", "one of …", a constant. Undefined for other keywords. */
function expectation({ keyword, params }: ErrorObject): string | undefined {
  switch (keyword) {
    case "type":
      return [params.type].flat().join(" or ");
    case "enum":
      return `one of ${JSON.stringify(params.allowedValues)}`;
    case "const":
      return JSON.stringify(params.allowedValue);
    case "pattern": {
      const digits = DIGITS_PATTERN.exec(params.pattern)?.[1];
      return digits === undefined
        ? `text like ${params.pattern}`
        : `a whole number of up to ${digits} digits`;
    }
    default:
      return undefined;
  }
}

/** What was found instead: the type only, as a value may be a secret or 16 MiB long. */
function found(root: unknown, path: readonly string[]): string {
  return `got ${typeName(at(root, path))}`;
}

function fieldOf(path: readonly string[]): string {
  return path.length === 0 ? "the request" : path.join(".");
}

function depthOf(error: ErrorObject): number {
  return pathOf(error).length;
}

function pathOf({ instancePath }: ErrorObject): readonly string[] {
  return instancePath === "" ? [] : instancePath.slice(1).split("/").map(unescapePointer);
}

function at(root: unknown, path: readonly string[]): unknown {
  let value = root;
  for (const key of path) value = (value as Record<string, unknown> | null | undefined)?.[key];
  return value;
}

function unescapePointer(part: string): string {
  return part.replaceAll("~1", "/").replaceAll("~0", "~");
}
