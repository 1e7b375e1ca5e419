import { BerthError } from "../errors.ts";
import { isJsonObject, parseClientJson } from "../json.ts";
import { typeName } from "../validate.ts";

/**
 * The filter of a body: the filter itself, or `{"query": filter}`; everything without a body. No document that is looked
 * through so has a field "query", so a body that has one is wrapped: INVALID_ARGUMENT names what it should not hold.
 */
export function filterOfBody(body: unknown): unknown {
  if (body === undefined) return {};
  if (!isJsonObject(body) || !Object.hasOwn(body, "query")) return body;
  const filter = filterObject(body.query, "query");
  const beside = Object.keys(body).find((key) => key !== "query");
  if (beside === undefined) return filter;
  throw new BerthError("INVALID_ARGUMENT", `${beside}: expected nothing beside "query"`);
}

/**
 * The filter of a URL's parameters: `filter=<JSON>`, and every other parameter a field's path and the value
 * that it equals, given several times one of these values. Numbers, booleans and null also match as such.
 */
export function filterOfParameters(
  parameters: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const { filter, ...fields } = parameters;
  const conditions = Object.entries(fields).map(([path, value]): Record<string, unknown> => {
    if (path.startsWith("$")) {
      const message = `${path}: expected a field's path; operators stand in filter=<JSON>`;
      throw new BerthError("INVALID_ARGUMENT", message);
    }
    return { [path]: { $in: [value].flat().flatMap(readings) } };
  });
  if (filter !== undefined) conditions.push(parseFilter(filter));
  return conditions.length === 0 ? {} : { $and: conditions };
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

/** A filter as an object; INVALID_ARGUMENT names the field that it is from. */
export function filterObject(value: unknown, field: string): Readonly<Record<string, unknown>> {
  if (isJsonObject(value)) return value;
  const message = `${field}: expected a filter as a JSON object, got ${typeName(value)}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}

/** What a text in a URL may stand for. */
function readings(text: unknown): readonly unknown[] {
  if (text === "true" || text === "false") return [text, text === "true"];
  if (text === "null") return [text, null];
  const number = typeof text === "string" && text.trim() !== "" ? Number(text) : Number.NaN;
  return Number.isFinite(number) ? [text, number] : [text];
}
