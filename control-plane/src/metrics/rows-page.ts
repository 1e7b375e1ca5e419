import { BerthError } from "@berth/service-kit";
import type { ClusterView, FleetSnapshot } from "../fleet/cluster-view.ts";
import { type AgedRow, type RowFilter, type RowKind, rowStem, rowText } from "./rows.ts";
import { clusterRow } from "./rows-cluster.ts";
import { gpuRow, gpuStateOf, gpusOf, type NodeParts, nodesOf } from "./rows-gpu.ts";
import { nodeRow } from "./rows-node.ts";

/** Where a row stands: its cluster, its node and its slot, as far as its kind has them. */
type Place = readonly [cluster: string, node?: string, slot?: number];

/** Which rows a page holds. */
export interface PageQuery {
  readonly kind: RowKind;
  readonly filter: RowFilter;
  /** Most rows. */
  readonly limit: number;
  /** `next` of the page before. */
  readonly after?: string | undefined;
  /** The moment for the ages. */
  readonly nowMs: number;
}

/** Rows as JSON texts, and where the next page begins; without `next` it is the last. */
export interface RowPage {
  readonly rows: readonly string[];
  readonly next?: string;
}

interface PlacedRow {
  readonly place: Place;
  readonly make: () => Generator<void, AgedRow<object>>;
}

const MAX_CURSOR_CHARACTERS = 4_096;

/**
 * One page of the rows that fit, clusters by id, nodes by id within, GPUs by slot within; made with pauses.
 * INVALID_ARGUMENT for a bad `after`.
 */
export function* rowPage(fleet: FleetSnapshot, query: PageQuery): Generator<void, RowPage> {
  const { limit, nowMs } = query;
  const rows: string[] = [];
  let last: Place | undefined;
  const after = query.after === undefined ? undefined : readCursor(query.after);
  for (const view of clustersFrom(fleet, query.filter, after)) {
    yield;
    for (const placed of rowsOf(view, query, after)) {
      if (placed === undefined) yield;
      else if (rows.length === limit) return { rows, next: cursorOf(last ?? placed.place) };
      else {
        const { body, born } = yield* placed.make();
        rows.push(rowText(rowStem(body), born, nowMs));
        last = placed.place;
        yield;
      }
    }
  }
  return { rows };
}

function* clustersFrom(
  fleet: FleetSnapshot,
  { cluster }: RowFilter,
  after: Place | undefined,
): Generator<ClusterView> {
  if (cluster !== undefined) {
    const view = fleet.clusters.get(cluster);
    if (view !== undefined) yield view;
    return;
  }
  for (const view of fleet.clusters.values()) {
    if (after === undefined || view.id >= after[0]) yield view;
  }
}

/** The rows of a cluster behind a place; undefined where others may have their turn. */
function* rowsOf(
  view: ClusterView,
  { kind, filter }: PageQuery,
  after: Place | undefined,
): Generator<PlacedRow | undefined> {
  const [cluster, afterNode = "", afterSlot = -1] = after ?? [];
  const isBehind = cluster === view.id;
  if (kind === "clusters") {
    if (!isBehind) yield { place: [view.id], make: () => clusterRow(view) };
    return;
  }
  const firstNode = isBehind ? afterNode : "";
  for (const node of nodesFrom(view, filter, firstNode)) {
    yield;
    const isFirst = isBehind && node.entry.id === afterNode;
    if (kind === "gpus") yield* gpuRowsOf(view, node, { filter, after: isFirst ? afterSlot : -1 });
    else if (!isFirst) {
      yield { place: [view.id, node.entry.id], make: () => done(nodeRow(view, node)) };
    }
  }
}

function* nodesFrom(view: ClusterView, filter: RowFilter, firstId: string): Generator<NodeParts> {
  for (const entry of nodesOf(view)) {
    if (filter.node !== undefined && entry.id !== filter.node) continue;
    if (entry.id >= firstId) yield { entry, metrics: view.nodes.get(entry.id) };
  }
}

function* gpuRowsOf(
  view: ClusterView,
  node: NodeParts,
  { filter, after }: { readonly filter: RowFilter; readonly after: number },
): Generator<PlacedRow> {
  for (const [slot, gpu] of gpusOf(node).entries()) {
    if (slot <= after) continue;
    if (filter.state !== undefined && gpuStateOf(view, gpu) !== filter.state) continue;
    const make = () => done(gpuRow(view, node, { gpu, slot }));
    yield { place: [view.id, node.entry.id, slot], make };
  }
}

// biome-ignore lint/correctness/useYield: a small row needs no pause
function* done<Row>(row: Row): Generator<void, Row> {
  return row;
}

function cursorOf(place: Place): string {
  return Buffer.from(JSON.stringify(place)).toString("base64url");
}

function readCursor(text: string): Place {
  const refusal = new BerthError("INVALID_ARGUMENT", "after: expected the `next` of a page before");
  if (text.length > MAX_CURSOR_CHARACTERS) throw refusal;
  let place: unknown;
  try {
    place = JSON.parse(Buffer.from(text, "base64url").toString());
  } catch {
    throw refusal;
  }
  if (!Array.isArray(place)) throw refusal;
  const [cluster, node, slot] = place;
  const isPlace =
    typeof cluster === "string" &&
    (node === undefined || typeof node === "string") &&
    (slot === undefined || Number.isSafeInteger(slot));
  if (!isPlace) throw refusal;
  return [cluster, node, slot];
}
