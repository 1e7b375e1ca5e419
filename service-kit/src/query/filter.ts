import { Context } from "mingo";
import { Query } from "mingo/query";
import { BerthError } from "../errors.ts";
import { isJsonObject } from "../json.ts";
import { typeName } from "../validate.ts";
import { NESTED_OPERATORS } from "./nested-operators.ts";
import { MINGO_OPERATORS, OPERATOR_NAMES } from "./operands.ts";
import { PREPARED_OPERATORS, prepareFilter } from "./prepare-filter.ts";

/** Whether a document matches a compiled filter. */
export type DocumentFilter = (document: object) => boolean;

const LOGICAL = new Set(["$and", "$or", "$nor"]);

// Not the Query of "mingo" itself: there the operators of mingo come before ours.
const context = Context.init({
  query: { ...MINGO_OPERATORS, ...NESTED_OPERATORS, ...PREPARED_OPERATORS },
});

/**
 * Compiles a MongoDB-style filter: comparison, logical, element and array operators, dotted paths,
 * and `$regex` on a linear-time engine (RE2 syntax). Throws INVALID_ARGUMENT that names the operator
 * or limit; `$where`, `$expr` and every other unlisted operator are refused.
 */
export function compileFilter(filter: unknown, field = "query"): DocumentFilter {
  if (!isJsonObject(filter)) {
    const got = typeName(filter);
    throw new BerthError("INVALID_ARGUMENT", `${field}: expected an object, got ${got}`);
  }
  const operator = Object.keys(filter).find((key) => OPERATOR_NAMES.has(key) && !LOGICAL.has(key));
  if (operator !== undefined) {
    const why = `${operator} stands below a field: {"field": {"${operator}": …}}`;
    throw new BerthError("INVALID_ARGUMENT", `${field}: ${why}`);
  }
  const prepared = prepareFilter(filter, field);
  try {
    const query = new Query(prepared as Record<string, never>, { context });
    return (document) => query.test(document as Record<string, never>);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BerthError("INVALID_ARGUMENT", `${field}: ${why}`, { cause });
  }
}
