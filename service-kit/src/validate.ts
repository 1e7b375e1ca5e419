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
 */
export function validate<S extends TSchema>(schema: S, value: unknown): Validation<Static<S>> {
  let check = compiled.get(schema);
  if (check === undefined) {
    check = ajv.compile(schema);
    compiled.set(schema, check);
  }
  if (check(value)) return { kind: "valid", value: value as Static<S> };
  const [error] = check.errors ?? [];
  return { kind: "invalid", message: error ? describeError(error, value) : "invalid value" };
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

function describeError(error: ErrorObject, root: unknown): string {
  const path = error.instancePath.slice(1).split("/").map(unescapePointer);
  const params: Record<string, unknown> = error.params;
  const field = error.instancePath === "" ? "the request" : path.join(".");
  const prefix = error.instancePath === "" ? "" : `${path.join(".")}.`;
  switch (error.keyword) {
    case "type":
      return `${field}: expected ${[params.type].flat().join(" or ")}, got ${typeName(at(root, path))}`;
    case "required":
      return `${prefix}${params.missingProperty}: required field is missing`;
    case "additionalProperties":
      return `${prefix}${params.additionalProperty}: unknown field`;
    case "enum":
      return `${field}: expected one of ${JSON.stringify(params.allowedValues)}`;
    default:
      return `${field}: ${error.message ?? error.keyword}`;
  }
}

function at(root: unknown, path: readonly string[]): unknown {
  let value = root;
  for (const key of path) {
    if (key === "" && path.length === 1) return root;
    value = (value as Record<string, unknown> | null | undefined)?.[key];
  }
  return value;
}

function unescapePointer(part: string): string {
  return part.replaceAll("~1", "/").replaceAll("~0", "~");
}
