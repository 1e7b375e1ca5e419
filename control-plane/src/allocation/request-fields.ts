import { BerthError, isJsonObject, toNumber } from "@berth/service-kit";
import { type ClusterFilter, parseFilter, parseSearch, type Search } from "./query/selection.ts";
import { valueName } from "./value-name.ts";

const MAX_CLUSTER_IDS = 10_000;
const MAX_ID_CHARACTERS = 253;

/** How the client selects candidates; ids win over a filter, a filter over a search. */
export type Selection =
  | { readonly kind: "all" }
  | { readonly kind: "ids"; readonly ids: readonly string[] }
  | { readonly kind: "filter"; readonly filter: ClusterFilter }
  | { readonly kind: "search"; readonly search: Search };

/**
 * The selection in the fields `clusters`, `filter` and `search` of a message, whose numbers may be kept as written.
 * INVALID_ARGUMENT names the field.
 */
export function selectionOf(message: Readonly<Record<string, unknown>>): Selection {
  const ids = clusterIds(message.clusters);
  const filter = optionalObject("filter", message.filter);
  const search = optionalObject("search", message.search);
  // What is not used is checked, too: a mistake in it shows with the first request, not with another one.
  const parsedFilter = Object.keys(filter).length > 0 ? parseFilter(filter) : undefined;
  const parsedSearch = Object.keys(search).length > 0 ? parseSearch(search) : undefined;
  if (ids.length > 0) return { kind: "ids", ids };
  if (parsedFilter !== undefined) return { kind: "filter", filter: parsedFilter };
  if (parsedSearch !== undefined) return { kind: "search", search: parsedSearch };
  return { kind: "all" };
}

function clusterIds(value: unknown): readonly string[] {
  if (value === undefined || value === null || value === "") return [];
  const ids = typeof value === "string" ? [value] : value;
  if (!Array.isArray(ids)) {
    const got = valueName(value);
    throw new BerthError("INVALID_ARGUMENT", `clusters: expected an array, got ${got}`);
  }
  if (ids.length > MAX_CLUSTER_IDS) {
    const message = `clusters: expected at most ${MAX_CLUSTER_IDS} ids, got ${ids.length}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  for (const [index, id] of ids.entries()) {
    if (typeof id === "string" && id.length > MAX_ID_CHARACTERS) {
      const message = `clusters[${index}]: expected at most ${MAX_ID_CHARACTERS} characters`;
      throw new BerthError("INVALID_ARGUMENT", message);
    }
    if (typeof id === "string") continue;
    const message = `clusters[${index}]: expected a string, got ${valueName(id)}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  return [...new Set<string>(ids)];
}

/** An object in a field; empty, null and missing are an empty one. INVALID_ARGUMENT names the field. */
export function optionalObject(field: string, value: unknown): Readonly<Record<string, unknown>> {
  if (value === undefined || value === null || value === "") return {};
  if (isJsonObject(value)) return value;
  const message = `${field}: expected an object, got ${valueName(value)}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}

/** A number as it is, and the name of what is none, or none that a double holds. */
export function numberOrName(value: unknown): string {
  const number = toNumber(value);
  return number !== undefined && Number.isFinite(number) ? String(number) : valueName(value);
}
