import type { Hold, LeaseHold, NodeCapacity } from "./claim.ts";
import { type LeaseNow, leaseVoid } from "./leases.ts";
import type { BookChange, NodeBooks } from "./node-books.ts";
import type { MigParents } from "./node-use.ts";
import { migParents, nodeUse } from "./node-use.ts";

/** What the ledger knows of a node's capacity; undefined for an unknown node. */
export type CapacityOf = (nodeId: string) => NodeCapacity | undefined;

/**
 * Changes that are being thought out: on the newest known holds, without leases that are void. What is changed of a node
 * strikes its void leases out, in the same transaction; nothing happens to the books before that.
 */
export class Draft {
  readonly #books: NodeBooks;
  readonly #now: LeaseNow;
  readonly #unchanged = new Map<string, ReadonlyMap<string, Hold>>();
  readonly #changed = new Map<string, Map<string, Hold>>();
  readonly #ended: LeaseHold[] = [];

  constructor(books: NodeBooks, now: LeaseNow) {
    this.#books = books;
    this.#now = now;
  }

  get now(): LeaseNow {
    return this.#now;
  }

  /** Void leases that the changes strike out. */
  get ended(): readonly LeaseHold[] {
    return this.#ended;
  }

  /** Holds of a node that count, by id. */
  holds(nodeId: string): ReadonlyMap<string, Hold> {
    const known = this.#changed.get(nodeId) ?? this.#unchanged.get(nodeId);
    if (known !== undefined) return known;
    const written = this.#books.find(nodeId)?.working.holds ?? new Map<string, Hold>();
    const holds = new Map([...written].filter(([, hold]) => !this.#isVoid(hold)));
    this.#unchanged.set(nodeId, holds);
    return holds;
  }

  /** GPUs of MIG devices that are held on a node. */
  parents(nodeId: string): MigParents {
    return this.#books.find(nodeId)?.working.parents ?? new Map();
  }

  /** A hold that counts. */
  find(id: string): Hold | undefined {
    const nodeId = this.#books.index.nodeOf(id);
    return nodeId === undefined ? undefined : this.holds(nodeId).get(id);
  }

  /** A hold as it is written down, void or not, whatever this draft does to it. */
  written(id: string): Hold | undefined {
    const nodeId = this.#books.index.nodeOf(id);
    return nodeId === undefined ? undefined : this.#books.find(nodeId)?.working.holds.get(id);
  }

  /** Enters a hold, in place of the one of that id on its node. */
  put(hold: Hold): void {
    this.touch(hold.claim.nodeId).set(hold.id, hold);
  }

  /** Strikes a hold out. */
  remove({ id, claim }: Hold): void {
    this.touch(claim.nodeId).delete(id);
  }

  /** Takes a node among those that are written. */
  touch(nodeId: string): Map<string, Hold> {
    let changed = this.#changed.get(nodeId);
    if (changed === undefined) {
      changed = new Map(this.holds(nodeId));
      this.#changed.set(nodeId, changed);
      for (const hold of this.#books.find(nodeId)?.working.holds.values() ?? []) {
        if (hold.kind === "lease" && this.#isVoid(hold)) this.#ended.push(hold);
      }
    }
    return changed;
  }

  /** What is to be written. */
  changes(capacity: CapacityOf): readonly BookChange[] {
    return [...this.#changed].flatMap(([nodeId, holds]) => {
      const book = this.#books.at(nodeId);
      if (holds.size === 0 && book.working.holds.size === 0) return [];
      const parents = heldParents(capacity(nodeId), holds, book.working.parents);
      return [{ book, body: { holds, parents } }];
    });
  }

  #isVoid(hold: Hold): boolean {
    return hold.kind === "lease" && leaseVoid(hold, this.#now) !== undefined;
  }
}

const NO_CAPACITY = { gpus: [], cpuMillis: 0, memoryMiB: 0, storageMiB: 0 };

/** A node of which nothing is known has nothing to give. */
export function noCapacity(nodeId: string, refusal: string): NodeCapacity {
  return { nodeId, refusal, ...NO_CAPACITY };
}

function heldParents(
  capacity: NodeCapacity | undefined,
  holds: ReadonlyMap<string, Hold>,
  former: MigParents,
): MigParents {
  const hasMig = capacity?.gpus.some(({ migDevices }) => migDevices.length > 0) === true;
  if (!hasMig && former.size === 0) return former;
  const known = capacity ?? { nodeId: "", ...NO_CAPACITY };
  return migParents(nodeUse({ capacity: known, holds: holds.values() }), former);
}
