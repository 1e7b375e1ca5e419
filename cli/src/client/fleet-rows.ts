import { at, textAt } from "../cluster-view.ts";
import { isObject } from "../json.ts";
import { type ApiServer, requestAnswer } from "./http.ts";

/** What the control-plane lists and watches row by row. */
export const FLEET_RESOURCES = ["clusters", "nodes", "gpus"] as const;

/** One of {@link FLEET_RESOURCES}. */
export type FleetResource = (typeof FLEET_RESOURCES)[number];

/** A row as the server sent it: a JSON object. */
export type FleetRow = Readonly<Record<string, unknown>>;

/** Which rows are wanted; absent: all. */
export interface RowFilter {
  readonly cluster?: string;
  readonly node?: string;
  /** State of a GPU. */
  readonly state?: string;
}

const LIST_PATHS: Readonly<Record<FleetResource, string>> = {
  clusters: "/metrics/clusters",
  nodes: "/nodes",
  gpus: "/gpus",
};
/** The filters that each resource has. */
const FILTERS: Readonly<Record<FleetResource, readonly (keyof RowFilter)[]>> = {
  clusters: ["cluster"],
  nodes: ["cluster", "node"],
  gpus: ["cluster", "node", "state"],
};
/** The members that together name a row, outermost first. */
const ID_MEMBERS: Readonly<Record<FleetResource, readonly string[]>> = {
  clusters: ["id"],
  nodes: ["cluster_id", "id"],
  gpus: ["cluster_id", "node_id", "id"],
};
/** More pages than any fleet has: a server that never ends its list is not followed for ever. */
const MAX_PAGES = 10_000;

/** Id of a row as a watch tells it: "cluster", "cluster/node" or "cluster/node/gpu". */
export function rowId(resource: FleetResource, row: FleetRow): string {
  return ID_MEMBERS[resource].map((member) => String(at(row, member) ?? "")).join("/");
}

/** Path and query of a watch. */
export function watchPath(resource: FleetResource, filter: RowFilter, intervalMs: number): string {
  const query = filterQuery(resource, filter);
  query.set("interval_ms", String(intervalMs));
  return `/watch/${resource}?${query}`;
}

/** All rows that are wanted, page after page. Throws a CliError as {@link requestAnswer} does. */
export async function requestRows(
  server: ApiServer,
  resource: FleetResource,
  filter: RowFilter,
): Promise<readonly FleetRow[]> {
  const rows: FleetRow[] = [];
  const query = filterQuery(resource, filter);
  for (let page = 0; page < MAX_PAGES; page++) {
    const suffix = query.size === 0 ? "" : `?${query}`;
    const path = `${LIST_PATHS[resource]}${suffix}`;
    const { data, next } = await requestAnswer(server, { method: "GET", path, plainNumbers: true });
    for (const row of rowsOf(data)) rows.push(row);
    if (next === undefined || next === query.get("after")) break;
    query.set("after", next);
  }
  return rows;
}

function filterQuery(resource: FleetResource, filter: RowFilter): URLSearchParams {
  const query = new URLSearchParams();
  for (const name of FILTERS[resource]) {
    const value = filter[name];
    if (value !== undefined) query.set(name, value);
  }
  return query;
}

/** The rows in a list; whatever is no row is left out. */
export function rowsOf(data: unknown): readonly FleetRow[] {
  return Array.isArray(data) ? data.filter(isObject) : [];
}

/** Number member of a row; undefined when it is not known. */
export function numberIn(row: FleetRow, key: string): number | undefined {
  const value = at(row, key);
  return typeof value === "number" ? value : undefined;
}

/** Whether what a row tells is no longer true for certain: nobody reports it, its age grows. */
export function isStaleRow(row: FleetRow): boolean {
  const quality = textAt(row, "quality");
  return quality === "stale" || at(row, "status") === "unreachable";
}
