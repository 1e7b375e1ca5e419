import type { Clock } from "@berth/service-kit";
import { damagedMessage } from "./allocation-desk.ts";
import { type NodeBalance, nodeBalance } from "./balance.ts";
import type { Hold, LeaseHold } from "./claim.ts";
import { type CapacityOf, noCapacity } from "./draft.ts";
import { type LeaseNow, leaseVoid, ttlLeftMs } from "./leases.ts";
import type { NodeBooks } from "./node-books.ts";

/** A lease as it is shown. */
export interface LeaseView {
  readonly lease: LeaseHold;
  /** 0 when it is void. */
  readonly ttlLeftMs: number;
  /** Time since it was first given out, ms; by the wall clock. */
  readonly ageMs: number;
  /** Why it is void and about to be struck out; absent while it counts. */
  readonly void?: string;
}

/** Which holds are wanted; absent = any. */
export interface HoldFilter {
  readonly blockId?: string;
  readonly nodeId?: string;
  readonly kind?: Hold["kind"];
}

/** Shows what is on disk, and nothing that is only under way. */
export class LedgerReader {
  readonly #options: {
    readonly books: NodeBooks;
    readonly capacity: CapacityOf;
    readonly clock: Clock;
    readonly leaseNow: () => LeaseNow;
  };

  constructor(options: {
    readonly books: NodeBooks;
    readonly capacity: CapacityOf;
    readonly clock: Clock;
    readonly leaseNow: () => LeaseNow;
  }) {
    this.#options = options;
  }

  /** Number of holds. */
  get size(): number {
    const { books } = this.#options;
    return books.all().reduce((sum, { durable }) => sum + durable.holds.size, 0);
  }

  /** The balance of a node; of an unknown one there is nothing to take, and of a damaged one all is taken. */
  node(nodeId: string): NodeBalance {
    const book = this.#options.books.find(nodeId);
    const capacity = this.#options.capacity(nodeId) ?? noCapacity(nodeId, "it is not known");
    const { holds = new Map<string, Hold>(), parents = new Map() } = book?.durable ?? {};
    if (book?.damage === undefined) {
      return nodeBalance({ capacity, holds: holds.values(), parents });
    }
    const refusal = damagedMessage(nodeId, book.damage);
    return allTaken(nodeBalance({ capacity: { ...capacity, refusal }, holds: [] }), refusal);
  }

  /** Holds, also leases that are void and not struck out yet, in no order. */
  holds({ blockId, nodeId, kind }: HoldFilter = {}): readonly Hold[] {
    const { books } = this.#options;
    const chosen = nodeId === undefined ? books.all() : [books.find(nodeId) ?? []].flat();
    const all = chosen.flatMap(({ durable }) => [...durable.holds.values()]);
    return all.filter((hold) => {
      const block = hold.kind === "allocation" ? hold.purpose.blockId : undefined;
      const isWanted = kind === undefined || hold.kind === kind;
      return isWanted && (blockId === undefined || block === blockId);
    });
  }

  /** A hold; undefined when none has the id. */
  hold(id: string): Hold | undefined {
    const { books } = this.#options;
    const nodeId = books.index.nodeOf(id);
    if (nodeId === undefined) return undefined;
    const found = books.find(nodeId)?.durable.holds.get(id);
    // One whose move to another node has failed is still where it was.
    return found ?? this.holds().find((hold) => hold.id === id);
  }

  /** All leases with the time that they have left. */
  leases(): readonly LeaseView[] {
    return this.holds().flatMap((hold) => (hold.kind === "lease" ? this.view(hold) : []));
  }

  /** Holds by node; of a node where nothing has changed the same object as before. */
  byNode(): ReadonlyMap<string, ReadonlyMap<string, Hold>> {
    const { books } = this.#options;
    return new Map(books.all().map(({ nodeId, durable }) => [nodeId, durable.holds]));
  }

  /** A lease with the time that it has left. */
  view(lease: LeaseHold): LeaseView {
    const now = this.#options.leaseNow();
    const wallMs = Date.parse(this.#options.clock.timestamp());
    const ended = leaseVoid(lease, now);
    const ageMs = Math.max(0, wallMs - Date.parse(lease.takenAt));
    const why = ended === undefined ? {} : { void: ended.message };
    return { lease, ttlLeftMs: ttlLeftMs(lease, now), ageMs, ...why };
  }
}

/** Unknown means taken. */
function allTaken(balance: NodeBalance, whyNot: string): NodeBalance {
  const full = ({ total }: NodeBalance["cpuMillis"]) => ({ total, taken: total, free: 0 });
  const state = "allocated";
  return {
    ...balance,
    devices: balance.devices.map((device) => {
      return { ...device, memory: full(device.memory), state, whyNot };
    }),
    cpuMillis: full(balance.cpuMillis),
    memoryMiB: full(balance.memoryMiB),
    storageMiB: full(balance.storageMiB),
  };
}
