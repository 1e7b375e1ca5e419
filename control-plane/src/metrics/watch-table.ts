import type { NodeEntry, NodeMetrics } from "@berth/proto";
import type { ClusterHealth, ClusterView, FleetSnapshot } from "../fleet/cluster-view.ts";
import type { RowKind } from "./rows.ts";
import { clusterRow } from "./rows-cluster.ts";
import { gpuRow, gpusOf, type NodeParts, nodesOf } from "./rows-gpu.ts";
import { nodeRow } from "./rows-node.ts";
import { follow, freshRow, type WatchedRow } from "./watch-row.ts";

/** Most rows of one kind that are watched; the others are left out, and watchers are told so. */
export const MAX_WATCHED_ROWS = 250_000;
/** Most removed rows that are remembered; a watcher that is behind those gets everything anew. */
const MAX_REMOVALS = 100_000;

/** The rows of a node, or of a cluster in a table of clusters, and what they were made from. */
interface Unit {
  /** Undefined in a table of clusters. */
  readonly node: string | undefined;
  entry: NodeEntry | undefined;
  metrics: NodeMetrics | undefined;
  health: ClusterHealth;
  rows: readonly WatchedRow[];
  /** Number of rows that there was no room for. */
  missing: number;
  changedAt: number;
}

/** The rows of a cluster. */
interface ClusterPart {
  view: ClusterView | undefined;
  /** By node id; a table of clusters has one, "". */
  readonly units: Map<string, Unit>;
  changedAt: number;
}

/** A row that is gone. */
interface Removal {
  readonly cluster: string;
  readonly node: string | undefined;
  readonly removedAt: number;
}

/** A row that has changed, or the id of one that is gone. */
export type TableNews =
  | { readonly kind: "row"; readonly row: WatchedRow }
  | { readonly kind: "removed"; readonly id: string };

/** Which parts of a table are looked at. */
export interface TablePart {
  readonly cluster?: string | undefined;
  readonly node?: string | undefined;
}

/**
 * All rows of one kind, kept from one look at the fleet to the next: only rows of what has another identity are
 * made anew, and a row that reads the same, but for its age, has not changed. Readers ask for what has changed
 * since a version, however long ago. Pure state: no I/O, no time.
 */
export class WatchTable {
  readonly #kind: RowKind;
  readonly #maxRows: number;
  readonly #clusters = new Map<string, ClusterPart>();
  /** In the order of removal. */
  readonly #removals = new Map<string, Removal>();
  #rows = 0;
  #missing = 0;
  #version = 1;
  #isChanged = false;
  #forgottenUpTo = 0;

  constructor(kind: RowKind, maxRows = MAX_WATCHED_ROWS) {
    this.#kind = kind;
    this.#maxRows = maxRows;
  }

  /** At least 1; raised by each look at the fleet that finds changes. */
  get version(): number {
    return this.#version;
  }

  /** Whether rows are left out because there are too many. */
  get isTruncated(): boolean {
    return this.#missing > 0;
  }

  /** Number of rows. */
  get size(): number {
    return this.#rows;
  }

  /** Whether what has changed since a version is not known any more. */
  hasForgotten(since: number): boolean {
    return since < this.#forgottenUpTo;
  }

  /** Takes the fleet in as it is now, with pauses. */
  *take(fleet: FleetSnapshot): Generator<void, void> {
    const version = this.#version + 1;
    for (const [id, part] of this.#clusters) {
      if (fleet.clusters.has(id)) continue;
      for (const unit of part.units.values()) this.#setRows({ id, part, unit }, [], version);
      this.#clusters.delete(id);
    }
    for (const view of fleet.clusters.values()) {
      const part = this.#partOf(view.id);
      if (part.view === view) continue;
      yield* this.#kind === "clusters"
        ? this.#takeCluster(part, view, version)
        : this.#takeNodes(part, view, version);
      part.view = view;
      yield;
    }
    // What a look began that did not come to its end counts too.
    if (this.#isChanged) this.#version = version;
    this.#isChanged = false;
  }

  /**
   * What has changed in a part of the table since a version; everything since 0. The table may change meanwhile:
   * what comes then is told, or will be by the next call with the version that the table has at the start of this one.
   */
  *since(version: number, part: TablePart): Generator<TableNews> {
    for (const unit of this.#unitsSince(version, part)) {
      for (const row of unit.rows) if (row.changedAt > version) yield { kind: "row", row };
    }
    // Who has nothing yet misses nothing that is gone.
    if (version === 0) return;
    for (const [id, removal] of this.#removals) {
      if (removal.removedAt > version && isIn(part, removal)) yield { kind: "removed", id };
    }
  }

  /** Forgets removals up to a version that every reader has seen. */
  forgetRemovals(upTo: number): void {
    for (const [id, { removedAt }] of this.#removals) {
      if (removedAt > upTo && this.#removals.size <= MAX_REMOVALS) return;
      this.#removals.delete(id);
      this.#forgottenUpTo = Math.max(this.#forgottenUpTo, removedAt);
    }
  }

  #partOf(id: string): ClusterPart {
    const known = this.#clusters.get(id);
    if (known !== undefined) return known;
    const part: ClusterPart = { view: undefined, units: new Map(), changedAt: 0 };
    this.#clusters.set(id, part);
    return part;
  }

  *#partsOf(cluster: string | undefined): Generator<ClusterPart> {
    if (cluster === undefined) {
      yield* this.#clusters.values();
      return;
    }
    const part = this.#clusters.get(cluster);
    if (part !== undefined) yield part;
  }

  *#unitsSince(version: number, { cluster, node }: TablePart): Generator<Unit> {
    for (const part of this.#partsOf(cluster)) {
      if (part.changedAt <= version) continue;
      for (const unit of part.units.values()) {
        if (unit.changedAt > version && isIn({ node }, unit)) yield unit;
      }
    }
  }

  *#takeCluster(part: ClusterPart, view: ClusterView, version: number): Generator<void, void> {
    const unit = unitOf(part, "", view.health);
    const row = yield* clusterRow(view);
    this.#setRows({ id: view.id, part, unit }, [freshRow(view.id, row, { version })], version);
  }

  *#takeNodes(part: ClusterPart, view: ClusterView, version: number): Generator<void, void> {
    const seen = new Set<string>();
    for (const entry of nodesOf(view)) {
      seen.add(entry.id);
      const metrics = view.nodes.get(entry.id);
      const unit = unitOf(part, entry.id, view.health);
      const { health } = view;
      if (unit.entry === entry && unit.metrics === metrics && unit.health === health) continue;
      Object.assign(unit, { entry, metrics, health });
      const rows = this.#rowsOfNode(view, { entry, metrics }, version);
      this.#setRows({ id: view.id, part, unit }, rows, version);
      yield;
    }
    for (const [id, unit] of part.units) {
      if (seen.has(id)) continue;
      this.#setRows({ id: view.id, part, unit }, [], version);
      part.units.delete(id);
    }
  }

  #rowsOfNode(view: ClusterView, node: NodeParts, version: number): readonly WatchedRow[] {
    const id = `${view.id}/${node.entry.id}`;
    if (this.#kind === "nodes") return [freshRow(id, nodeRow(view, node), { version })];
    return gpusOf(node).map((gpu, slot) => {
      const row = gpuRow(view, node, { gpu, slot });
      const { id: gpuId, state } = row.body;
      return freshRow(`${id}/${gpuId}`, row, { version, state });
    });
  }

  /** Replaces the rows of a unit; those that read the same stay what they are. */
  #setRows(
    { id, part, unit }: { readonly id: string; readonly part: ClusterPart; readonly unit: Unit },
    made: readonly WatchedRow[],
    version: number,
  ): void {
    const before = new Map(unit.rows.map((row) => [row.id, row]));
    const room = this.#maxRows - this.#rows + unit.rows.length;
    const rows = made.length <= room ? made : made.slice(0, Math.max(0, room));
    this.#missing += made.length - rows.length - unit.missing;
    unit.missing = made.length - rows.length;
    let isChanged = false;
    const kept = rows.map((row) => {
      const known = before.get(row.id);
      before.delete(row.id);
      if (known?.stem !== row.stem) {
        isChanged = true;
        follow(row, known, this.#removals.get(row.id)?.removedAt);
        this.#removals.delete(row.id);
        return row;
      }
      known.born = row.born;
      return known;
    });
    for (const gone of before.keys()) {
      isChanged = true;
      this.#removals.set(gone, { cluster: id, node: unit.node, removedAt: version });
    }
    this.#rows += kept.length - unit.rows.length;
    unit.rows = kept;
    if (!isChanged) return;
    this.#isChanged = true;
    unit.changedAt = version;
    part.changedAt = version;
  }
}

function isIn(
  { cluster, node }: TablePart,
  of: { readonly cluster?: string; readonly node: string | undefined },
): boolean {
  if (cluster !== undefined && of.cluster !== cluster) return false;
  return node === undefined || of.node === node;
}

function unitOf(part: ClusterPart, id: string, health: ClusterHealth): Unit {
  const known = part.units.get(id);
  if (known !== undefined) return known;
  const node = id === "" ? undefined : id;
  const unit: Unit = {
    ...{ node, health, rows: [], missing: 0, changedAt: 0 },
    ...{ entry: undefined, metrics: undefined },
  };
  part.units.set(id, unit);
  return unit;
}
