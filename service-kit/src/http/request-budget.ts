import { BerthError } from "../errors.ts";
import { ByteBudget } from "./byte-budget.ts";

const MIB = 1024 * 1024;
/** Largest request body: 16 MiB, as for a WebSocket frame. */
export const MAX_BODY_BYTES = 16 * MIB;
/** Requests up to this size are bounded by their number, not by their bytes. */
export const SMALL_REQUEST_BYTES = 64 * 1024;
/** Larger ones are large, those between are middling. */
const MAX_MIDDLING_BYTES = MIB;
/** Bytes that all large requests may hold together. A request costs up to six times its bytes while it is worked on. */
export const MAX_LARGE_REQUESTS_BYTES = 48 * MIB;
/** Bytes that all middling requests may hold together: they do not wait for large ones. */
export const MAX_MIDDLING_REQUESTS_BYTES = 16 * MIB;
const MAX_WAITING = 1_000;
const WAIT_MS = 5_000;

/** The share of a request in a {@link RequestBudget}. */
export interface RequestHold {
  /** Gives the share back; again is no harm. */
  release(): void;
}

const NOTHING: RequestHold = { release: () => {} };

/**
 * Bytes of requests that a server holds, whatever they come in on. Nobody waits in silence: who gets no share within 5 s is
 * told OVERLOADED.
 */
export class RequestBudget {
  readonly #middling = budgetOf(MAX_MIDDLING_REQUESTS_BYTES);
  readonly #large = budgetOf(MAX_LARGE_REQUESTS_BYTES);

  /** Bytes that are held. */
  get usedBytes(): number {
    return this.#middling.usedBytes + this.#large.usedBytes;
  }

  /** A share at once, or undefined when it has to be waited for. */
  tryHold(bytes: number): RequestHold | undefined {
    if (bytes <= SMALL_REQUEST_BYTES) return NOTHING;
    const budget = this.#budgetFor(bytes);
    return budget.tryTake(bytes) ? holdOf(budget, bytes) : undefined;
  }

  /** A share when it is its turn. Throws OVERLOADED that says what to do, CANCELED when the signal is aborted. */
  async hold(bytes: number, signal: AbortSignal): Promise<RequestHold> {
    if (bytes <= SMALL_REQUEST_BYTES) return NOTHING;
    const budget = this.#budgetFor(bytes);
    const answer = await budget.take(bytes, signal);
    if (answer === "taken") return holdOf(budget, bytes);
    if (answer === "gone") throw new BerthError("CANCELED", "the request was canceled");
    throw new BerthError("OVERLOADED", overloaded(budget === this.#large));
  }

  #budgetFor(bytes: number): ByteBudget {
    return bytes > MAX_MIDDLING_BYTES ? this.#large : this.#middling;
  }
}

function budgetOf(maxBytes: number): ByteBudget {
  return new ByteBudget({ maxBytes, maxWaiting: MAX_WAITING, waitMs: WAIT_MS });
}

function holdOf(budget: ByteBudget, bytes: number): RequestHold {
  let isHeld = true;
  return {
    release: () => {
      if (isHeld) budget.giveBack(bytes);
      isHeld = false;
    },
  };
}

function overloaded(isLarge: boolean): string {
  const [size, heldBytes] = isLarge
    ? ["of more than 1 MiB", MAX_LARGE_REQUESTS_BYTES]
    : ["of more than 64 KiB", MAX_MIDDLING_REQUESTS_BYTES];
  return `requests ${size} with ${heldBytes / MIB} MiB together are being worked on: try again in a moment, send fewer at a time or smaller ones`;
}
