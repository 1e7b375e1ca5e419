import {
  BerthError,
  compileFilter,
  type DocumentFilter,
  filterObject,
  isJsonObject,
  typeName,
} from "@berth/service-kit";
import { compileProjection, type Projection } from "./projection.ts";

/** Most blocks that one answer lists. */
export const MAX_LISTED_BLOCKS = 10_000;
/** Most paths of a sort, as with MongoDB. */
export const MAX_SORT_PATHS = 32;

/** One path that is sorted by. */
export interface SortPath {
  readonly keys: readonly string[];
  /** 1 = from the least to the greatest. */
  readonly direction: 1 | -1;
}

/** A page of a list. */
export interface ListedPage {
  readonly skip: number;
  /** 1 to {@link MAX_LISTED_BLOCKS}. */
  readonly limit: number;
}

/** What is asked of the blocks. */
export interface BlockQuery extends ListedPage {
  readonly matches: DocumentFilter;
  /** Empty: in the order of their ids. */
  readonly sort: readonly SortPath[];
  /** Undefined: whole documents. */
  readonly projection: Projection | undefined;
}

const OPTIONS = ["sort", "limit", "skip", "projection"];

/**
 * Reads the body of a query: `{query, options: {sort, limit, skip, projection}}`, a bare filter, or nothing for all
 * blocks. INVALID_ARGUMENT names the field and what was expected.
 */
export function parseBlockQuery(body: unknown): BlockQuery {
  const { filter, options } = partsOf(body);
  const unknown = Object.keys(options).find((key) => !OPTIONS.includes(key));
  if (unknown !== undefined) {
    throw invalid(`options.${unknown.slice(0, 200)}: expected one of ${OPTIONS.join(", ")}`);
  }
  const { projection } = options;
  return {
    matches: compileFilter(filter),
    sort: parseSort(options.sort),
    ...parsePage(options, "options."),
    projection:
      projection === undefined ? undefined : compileProjection(projection, "options.projection"),
  };
}

/** Reads `skip` and `limit`; a limit of 0, or none, stands for as many as can be. */
export function parsePage(
  { skip, limit }: { readonly skip?: unknown; readonly limit?: unknown },
  prefix: string,
): ListedPage {
  const asked = wholeNumber(limit, `${prefix}limit`);
  return {
    skip: wholeNumber(skip, `${prefix}skip`),
    limit: asked === 0 ? MAX_LISTED_BLOCKS : Math.min(asked, MAX_LISTED_BLOCKS),
  };
}

function partsOf(body: unknown): {
  readonly filter: unknown;
  readonly options: Readonly<Record<string, unknown>>;
} {
  if (body === undefined) return { filter: {}, options: {} };
  if (!isJsonObject(body)) {
    throw invalid(`the request body: expected a JSON object, got ${typeName(body)}`);
  }
  const keys = Object.keys(body);
  const hasOptionsAlone = keys.length === 1 && keys[0] === "options";
  if (!Object.hasOwn(body, "query") && !hasOptionsAlone) return { filter: body, options: {} };
  const beside = keys.find((key) => key !== "query" && key !== "options");
  if (beside !== undefined) {
    throw invalid(`${beside.slice(0, 200)}: expected nothing beside "query" and "options"`);
  }
  const { query = {}, options = {} } = body;
  if (!isJsonObject(options))
    throw invalid(`options: expected an object, got ${typeName(options)}`);
  return { filter: filterObject(query, "query"), options };
}

function parseSort(sort: unknown): readonly SortPath[] {
  if (sort === undefined) return [];
  if (!isJsonObject(sort)) {
    throw invalid(`options.sort: expected an object of paths, got ${typeName(sort)}`);
  }
  const paths = Object.entries(sort);
  if (paths.length > MAX_SORT_PATHS) {
    throw invalid(`options.sort: expected at most ${MAX_SORT_PATHS} paths, got ${paths.length}`);
  }
  return paths.map(([path, direction]) => {
    const keys = path.split(".");
    if (keys.some((key) => key === "" || key.startsWith("$"))) {
      throw invalid(`options.sort: ${JSON.stringify(path.slice(0, 200))} is not a field's path`);
    }
    if (direction === 1 || direction === -1) return { keys, direction };
    throw invalid(`options.sort.${path.slice(0, 200)}: expected 1 or -1`);
  });
}

function wholeNumber(value: unknown, field: string): number {
  if (value === undefined) return 0;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw invalid(`${field}: expected a whole number from 0`);
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
