import {
  BerthError,
  type Clock,
  type DocumentStore,
  type Logger,
  Serial,
} from "@berth/service-kit";
import {
  AllocationDesk,
  type Freed,
  type Kept,
  type Taken,
  type TakeRequest,
} from "./allocation-desk.ts";
import type { NodeBalance } from "./balance.ts";
import type { BootClock } from "./boot-clock.ts";
import type { Hold, LeaseHold, LedgerRefusal } from "./claim.ts";
import { type CapacityOf, noCapacity } from "./draft.ts";
import { readGeneration } from "./generation.ts";
import {
  LeaseDesk,
  type Leased,
  type LeaseRequest,
  type Released,
  type RenewRequest,
} from "./lease-desk.ts";
import { LEASE_RULES, type LeaseNow, type LeaseRules } from "./leases.ts";
import { type HoldFilter, type LeaseView, LedgerReader } from "./ledger-reader.ts";
import { type LedgerStatus, StatusBoard } from "./ledger-status.ts";
import { NodeBooks } from "./node-books.ts";
import { migParents, nodeUse } from "./node-use.ts";
import { type ObservedHold, planReconcile, type ReconcileReport } from "./reconcile.ts";
import { Transactions } from "./transactions.ts";

/** What {@link openLedger} needs. */
export interface LedgerOptions {
  readonly store: DocumentStore;
  readonly orgId: string;
  /** What a node has to give now; undefined for an unknown node. */
  readonly capacity: CapacityOf;
  readonly bootClock: BootClock;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly rules?: LeaseRules;
  /** Store whose orders count; undefined while that is not known. */
  readonly obeyedStoreId?: () => string | undefined;
  /** First revision; 0 by default. */
  readonly revisionBase?: bigint;
}

/** Leases that have ended and that nobody has asked for yet; the oldest go first. */
const MAX_ENDED = 10_000;

/**
 * Opens the ledger of a cluster, closed: it is read, and gives nothing until it was reconciled with what runs. Rejects
 * with UNAVAILABLE when the store cannot be read.
 */
export async function openLedger(options: LedgerOptions): Promise<Ledger> {
  const ledger = new Ledger(options);
  await ledger.load();
  return ledger;
}

/**
 * What is taken on a cluster, and the only place that says so. Every answer rests on what is on disk; what fails there
 * rejects with UNAVAILABLE, and asking again with the same ids tells what became of it. Readers see what is on disk.
 */
export class Ledger {
  readonly #options: LedgerOptions;
  readonly #board: StatusBoard;
  readonly #books: NodeBooks;
  readonly #allocations: AllocationDesk;
  readonly #leases: LeaseDesk;
  readonly #reader: LedgerReader;
  readonly #serial = new Serial();
  #ended: LeaseHold[] = [];
  /** The store did not say which generation its leases are of. */
  #isDoubtful = false;

  constructor(options: LedgerOptions) {
    this.#options = options;
    const { logger, store, orgId, capacity, clock, rules = LEASE_RULES } = options;
    const board = new StatusBoard(logger, options.revisionBase ?? 0n);
    const books = new NodeBooks({ store, orgId, logger, onDurable: () => board.changed() });
    const leaseNow = () => this.#leaseNow();
    const closed = () => board.refusal();
    const onEnded = (leases: readonly LeaseHold[]) => this.#keepEnded(leases);
    const transactions = new Transactions({ books, capacity, leaseNow, closed, onEnded });
    this.#board = board;
    this.#books = books;
    this.#allocations = new AllocationDesk({ books, transactions, capacity, clock });
    const desk = { books, transactions, capacity, clock, rules, logger };
    this.#leases = new LeaseDesk(desk, leaseNow);
    this.#reader = new LedgerReader({ books, capacity, clock, leaseNow });
  }

  /** Reads what is there; called once. */
  async load(): Promise<void> {
    await this.#books.load();
    const { generation } = await readGeneration(this.#options);
    const all = this.holds();
    const newest = all.reduce((most, hold) => Math.max(most, generationOf(hold)), 1);
    this.#board.generation = generation ?? newest;
    this.#isDoubtful = generation === undefined && this.#books.all().length > 0;
    const { size, status } = this;
    this.#options.logger.info("ledger opened", { holds: size, generation: status.generation });
  }

  get status(): LedgerStatus {
    return this.#board.status;
  }

  /** Number of holds. */
  get size(): number {
    return this.#reader.size;
  }

  /** Calls back at each change of {@link status}; gives the function that ends that. */
  onChange(listener: () => void): () => void {
    return this.#board.onChange(listener);
  }

  /**
   * Allocates all that is asked for, on however many nodes, or nothing. What is there already under the same id, with
   * the same claim and purpose, counts as taken. A lease becomes the allocation in the same transaction.
   */
  take(requests: readonly TakeRequest[]): Promise<Taken | LedgerRefusal> {
    return this.#allocations.take(requests);
  }

  /** Frees an allocation; call it when it is certain that nothing of the instance runs. */
  free(allocationId: string): Promise<Freed | LedgerRefusal> {
    return this.#allocations.free(allocationId);
  }

  /** Marks that an instance may still run although nobody hears of it; what it holds stays held. */
  quarantine(allocationId: string, note: string): Promise<Kept | LedgerRefusal> {
    return this.#allocations.keep(allocationId, "quarantined", note);
  }

  /** The instance is known again: takes {@link quarantine} and the note back. */
  confirm(allocationId: string): Promise<Kept | LedgerRefusal> {
    return this.#allocations.keep(allocationId, "committed");
  }

  /** Holds a claim for a while; the same id again gives the same lease, not renewed. */
  lease(request: LeaseRequest): Promise<Leased | LedgerRefusal> {
    return this.#leases.lease(request);
  }

  /** Puts the end of a lease off, a bounded number of times. */
  renew(request: RenewRequest): Promise<Leased | LedgerRefusal> {
    return this.#leases.renew(request);
  }

  /** Ends a lease; refused when it is somebody else's. */
  release(request: Parameters<LeaseDesk["release"]>[0]): Promise<Released | LedgerRefusal> {
    return this.#leases.release(request);
  }

  /**
   * Strikes out the leases that are void; gives those that were struck out since the last sweep, also to make room for
   * others. To be called every second. Does nothing while the ledger is closed; never rejects.
   */
  async sweep(): Promise<readonly LeaseHold[]> {
    await this.#leases.sweep();
    // One whose id was given out anew meanwhile is not over for whoever holds it.
    return this.#ended.splice(0).filter(({ id }) => this.hold(id)?.kind !== "lease");
  }

  /**
   * Stops giving and taking; `why` says what the ledger waits for. What was begun goes on, and has ended when this
   * resolves: look at what runs after that, then {@link reconcile}.
   */
  async close(why: string): Promise<void> {
    this.#board.close(why);
    await Promise.all(this.#books.all().map(({ tail }) => tail));
  }

  /**
   * Makes the books say what runs, all in one transaction, and opens, unless the ledger was closed anew meanwhile.
   * Rejects with PRECONDITION_FAILED when it is open, since a look from before is no longer true, and with UNAVAILABLE
   * when the store fails: it is closed then, and to be reconciled again.
   */
  reconcile(observed: readonly ObservedHold[]): Promise<ReconcileReport> {
    // A closing after this call is one that the look does not know of.
    const { closings } = this.#board;
    return this.#serial.run(() => this.#reconcile(observed, closings));
  }

  /** The balance of a node; of an unknown one there is nothing to take, and of a damaged one all is taken. */
  node(nodeId: string): NodeBalance {
    return this.#reader.node(nodeId);
  }

  /** Holds, also leases that are void and not struck out yet, in no order. */
  holds(filter?: HoldFilter): readonly Hold[] {
    return this.#reader.holds(filter);
  }

  /** A hold; undefined when none has the id. */
  hold(id: string): Hold | undefined {
    return this.#reader.hold(id);
  }

  /** All leases with the time that they have left. */
  leases(): readonly LeaseView[] {
    return this.#reader.leases();
  }

  /** A lease that was given with the time that it has left now. */
  viewOf(lease: LeaseHold): LeaseView {
    return this.#reader.view(lease);
  }

  /**
   * Holds by node, as they are on disk. What is given for a node is the same object until something changes there, and
   * never changes itself.
   */
  byNode(): ReadonlyMap<string, ReadonlyMap<string, Hold>> {
    return this.#reader.byNode();
  }

  async #reconcile(observed: readonly ObservedHold[], closings: number): Promise<ReconcileReport> {
    const { capacity, clock, logger } = this.#options;
    const board = this.#board;
    if (board.isOpen) {
      const message = "the ledger is open: close it, look at what runs, and reconcile it then";
      throw new BerthError("PRECONDITION_FAILED", message);
    }
    await this.#books.drain();
    const stored = await readGeneration(this.#options);
    const books = this.#books.all();
    const damaged = books.filter(({ damage }) => damage !== undefined);
    const plan = planReconcile({
      observed,
      nodes: new Map(books.map(({ nodeId, working }) => [nodeId, working])),
      damaged: new Set(damaged.map(({ nodeId }) => nodeId)),
      capacity,
      takenAt: clock.timestamp(),
      isDoubtful: this.#isDoubtful,
    });
    const { report } = plan;
    const known = Math.max(board.generation, stored.generation ?? 1);
    const generation = report.generationRaised ? known + 1 : known;
    const writes = generation === stored.generation ? [] : [stored.set(generation)];
    const gone = this.holds({ kind: "lease" });
    if (plan.changes.size + writes.length > 0) {
      await this.#books.commit(this.#changesOf(plan.changes), writes);
    }
    if (report.generationRaised) this.#keepEnded(gone.filter((hold) => hold.kind === "lease"));
    board.generation = generation;
    this.#isDoubtful = false;
    logger.info("ledger reconciled", {
      seen: observed.length,
      adopted: report.adopted.length,
      changed: report.changed.length,
      unobserved: report.unobserved.length,
      displaced: report.displaced.length,
      conflicts: report.conflicts.length,
      generation,
    });
    if (board.closings === closings) board.open();
    else board.changed();
    return report;
  }

  #changesOf(changes: ReadonlyMap<string, ReadonlyMap<string, Hold>>) {
    return [...changes].flatMap(([nodeId, holds]) => {
      const book = this.#books.at(nodeId);
      if (holds.size === 0 && book.working.holds.size === 0) return [];
      const known = this.#options.capacity(nodeId) ?? noCapacity(nodeId, "it is not known");
      const use = nodeUse({ capacity: known, holds: holds.values() });
      return [{ book, body: { holds, parents: migParents(use, book.working.parents) } }];
    });
  }

  #leaseNow(): LeaseNow {
    const { bootClock, obeyedStoreId } = this.#options;
    return {
      bootId: bootClock.bootId,
      bootMs: bootClock.nowMs(),
      generation: this.#board.generation,
      obeyedStoreId: obeyedStoreId?.(),
    };
  }

  #keepEnded(leases: readonly LeaseHold[]): void {
    this.#ended.push(...leases);
    this.#ended.splice(0, this.#ended.length - MAX_ENDED);
  }
}

function generationOf(hold: Hold): number {
  return hold.kind === "lease" ? hold.generation : 1;
}
