import type { Clock, Logger, Part } from "@berth/service-kit";
import { ledgerDocument } from "../ledger/hold-documents.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { ToldBlocks, type ToldBlocksDeps } from "./told-blocks.ts";
import type { ToldBoard } from "./told-board.ts";
import { ToldHolds, type ToldHoldsDeps } from "./told-holds.ts";
import { ToldOperations, type ToldOperationsDeps } from "./told-operations.ts";

/** Changes are gathered for so long, ms. */
const GATHER_MS = 10;
/** Time between two looks that the work of looking may take: a tenth of a core at most. */
const REST_FACTOR = 10;
/** Longest time between a change and the look at it, ms. */
const MAX_REST_MS = 250;

/** What {@link BlockTeller} is made from. */
export interface BlockTellerDeps {
  readonly board: ToldBoard;
  readonly ledger: Pick<Ledger, "status" | "hold" | "byNode" | "viewOf" | "onChange">;
  readonly book: ToldBlocksDeps["book"] & ToldHoldsDeps["known"]["blocks"];
  readonly observed: ToldBlocksDeps["observed"];
  readonly operations: ToldOperationsDeps["book"];
  /** Puts the cluster document on the board as the ledger makes it look now. */
  readonly tellCluster: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Tells the control-plane of blocks, of what is held and of operations, some 10 ms after each change, and never more often
 * than takes a tenth of a core. The ledger's revision is put on the board behind what it has changed, so that who has
 * heard of a revision has heard of all that it means.
 */
export class BlockTeller implements Part {
  readonly name = "block teller";
  readonly #deps: BlockTellerDeps;
  readonly #blocks: ToldBlocks;
  readonly #holds: ToldHolds;
  readonly #operations: ToldOperations;
  #timer: NodeJS.Timeout | undefined;
  #restUntilMs = Number.NEGATIVE_INFINITY;
  #isRunning = false;
  #forget: () => void = () => undefined;

  constructor(deps: BlockTellerDeps) {
    this.#deps = deps;
    const { board, ledger, book, operations, observed } = deps;
    const wake = () => this.#wake();
    this.#blocks = new ToldBlocks({ board, ledger, book, observed }, wake);
    const known = { blocks: book, operations };
    this.#holds = new ToldHolds({ board, ledger, known });
    this.#operations = new ToldOperations({ board, book: operations }, wake);
  }

  async start(): Promise<void> {
    this.#isRunning = true;
    this.#forget = this.#deps.ledger.onChange(() => this.#wake());
    this.tell();
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    this.#forget();
    clearTimeout(this.#timer);
  }

  /** Looks at all of it now, and puts on the board what has changed. */
  tell(): void {
    const { board, ledger, tellCluster, clock } = this.#deps;
    const begunAtMs = clock.nowMs();
    this.#blocks.tell();
    this.#holds.tell();
    tellCluster();
    board.set("ledger", JSON.stringify(ledgerDocument(ledger.status)));
    this.#operations.tell();
    const endedAtMs = clock.nowMs();
    const restMs = Math.min(MAX_REST_MS, REST_FACTOR * (endedAtMs - begunAtMs));
    this.#restUntilMs = endedAtMs + restMs;
  }

  #wake(): void {
    if (!this.#isRunning || this.#timer !== undefined) return;
    const restMs = Math.max(GATHER_MS, this.#restUntilMs - this.#deps.clock.nowMs());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      try {
        this.tell();
      } catch (err) {
        this.#deps.logger.error("blocks were not told", { err });
      }
    }, restMs);
  }
}
