import { isOrphan } from "../actions/orphans.ts";
import type { AllocationHold, Hold, LeaseHold } from "../ledger/claim.ts";
import { allocationDocument, leaseDocument } from "../ledger/hold-documents.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { ToldBoard } from "./told-board.ts";

/** What {@link ToldHolds} looks at. */
export interface ToldHoldsDeps {
  readonly board: ToldBoard;
  readonly ledger: Pick<Ledger, "byNode" | "viewOf">;
  readonly known: Parameters<typeof isOrphan>[1];
}

interface Told {
  /** The same object until something changes on the node. */
  readonly holds: ReadonlyMap<string, Hold>;
  /** Ids of the allocations that nobody knows what they are for. */
  readonly orphans: string;
}

/** Tells what is held of each node, when it has changed; what is left of a lease is that of the moment. */
export class ToldHolds {
  readonly #deps: ToldHoldsDeps;
  readonly #told = new Map<string, Told>();

  constructor(deps: ToldHoldsDeps) {
    this.#deps = deps;
  }

  /** Puts on the board what has changed. */
  tell(): void {
    const { board, ledger } = this.#deps;
    const gone = new Set(this.#told.keys());
    for (const [nodeId, holds] of ledger.byNode()) {
      if (holds.size === 0) continue;
      gone.delete(nodeId);
      this.#tellOne(nodeId, holds);
    }
    for (const nodeId of gone) {
      this.#told.delete(nodeId);
      board.delete(`holds/${nodeId}`);
    }
  }

  #tellOne(nodeId: string, holds: ReadonlyMap<string, Hold>): void {
    const { board, ledger, known } = this.#deps;
    const allocations = [...holds.values()].filter((hold) => hold.kind === "allocation");
    const orphans = allocations.filter((one) => isOrphan(one, known)).map(({ id }) => id);
    const told = { holds, orphans: orphans.join() };
    const former = this.#told.get(nodeId);
    if (former?.holds === holds && former.orphans === told.orphans) return;
    this.#told.set(nodeId, told);
    const leases = [...holds.values()].filter((hold) => hold.kind === "lease");
    const document = {
      allocations: allocations.map((one: AllocationHold) =>
        allocationDocument(one, orphans.includes(one.id)),
      ),
      leases: leases.map((one: LeaseHold) => leaseDocument(ledger.viewOf(one))),
    };
    board.set(`holds/${nodeId}`, JSON.stringify(document));
  }
}
