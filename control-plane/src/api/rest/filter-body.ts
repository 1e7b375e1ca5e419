import { BerthError } from "@berth/service-kit";

/**
 * The MongoDB-style filter in the body of a query: the value of `query`, or the whole body where there is no
 * `query`. INVALID_ARGUMENT names what stands beside `query`: it would be a filter that nobody applies.
 */
export function filterOf(body: Readonly<Record<string, unknown>>): unknown {
  if (!Object.hasOwn(body, "query")) return body;
  const beside = Object.keys(body).find((key) => key !== "query");
  if (beside === undefined) return body.query;
  const message = `${beside.slice(0, 80)}: unknown field beside query; put it into query`;
  throw new BerthError("INVALID_ARGUMENT", message);
}
