import type { Logger } from "@berth/service-kit";
import type { LedgerRefusal } from "./claim.ts";
import { refused } from "./claim-shape.ts";

/** What the ledger is waiting for when it was just opened. */
const FIRST = "the ledger waits for a look at what runs";

/** Whether the ledger gives and takes. */
export interface LedgerStatus {
  /** `closed`: it is read, and nothing else. */
  readonly state: "closed" | "open";
  /** What it waits for; absent when it is open. */
  readonly why?: string;
  /** Raised each time that the books were found to be wrong; older leases are void. */
  readonly generation: number;
  /** Raised at each change that a reader could see, over restarts too. */
  readonly revision: bigint;
}

/** The ledger's status, and who wants to hear of it. */
export class StatusBoard {
  readonly #logger: Logger;
  readonly #listeners = new Set<() => void>();
  #why: string | undefined = FIRST;
  #closings = 0;
  #revision: bigint;
  generation = 1;

  constructor(logger: Logger, revisionBase: bigint) {
    this.#logger = logger;
    this.#revision = revisionBase;
  }

  get status(): LedgerStatus {
    const { generation } = this;
    const revision = this.#revision;
    if (this.#why === undefined) return { state: "open", generation, revision };
    return { state: "closed", why: this.#why, generation, revision };
  }

  get isOpen(): boolean {
    return this.#why === undefined;
  }

  /** Changes at each closing. */
  get closings(): number {
    return this.#closings;
  }

  /** Why nothing may be changed; undefined when it may. */
  refusal(): LedgerRefusal | undefined {
    const why = this.#why;
    return why === undefined ? undefined : refused("closed", `the ledger is closed: ${why}`);
  }

  open(): void {
    this.#why = undefined;
    this.changed();
  }

  close(why: string): void {
    this.#closings += 1;
    this.#why = why;
    this.changed();
  }

  /** Raises the revision and tells everybody. */
  changed(): void {
    this.#revision += 1n;
    for (const listener of [...this.#listeners]) {
      try {
        listener();
      } catch (err) {
        this.#logger.error("a listener of the ledger has failed", { err });
      }
    }
  }

  /** Calls back at each change; gives the function that ends that. */
  onChange(listener: () => void): () => void {
    const own = () => listener();
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }
}
