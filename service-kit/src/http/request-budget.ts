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
  /** Gives a part of the share back; nothing when it is not larger. */
  shrinkTo(bytes: number): void;
  /** Takes more when it is its turn; throws like `hold`. */
  growTo(bytes: number, signal: AbortSignal): Promise<void>;
}

const NOTHING: RequestHold = {
  release: () => {},
  shrinkTo: () => {},
  growTo: () => Promise.resolve(),
};

/** Sizes of requests that are bounded together. */
export type RequestSize = "small" | "middling" | "large";

/** Which of the sizes a request of so many bytes is of. */
export function requestSize(bytes: number): RequestSize {
  if (bytes <= SMALL_REQUEST_BYTES) return "small";
  return bytes <= MAX_MIDDLING_BYTES ? "middling" : "large";
}

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

  /** How many wait for a share. */
  get waiting(): number {
    return this.#middling.waiting + this.#large.waiting;
  }

  /** A share at once, or undefined when it has to be waited for. */
  tryHold(bytes: number): RequestHold | undefined {
    if (bytes <= SMALL_REQUEST_BYTES) return NOTHING;
    const budget = this.#budgetFor(bytes);
    return budget.tryTake(bytes) ? new Share(budget, bytes) : undefined;
  }

  /** A share when it is its turn. Throws OVERLOADED that says what to do, CANCELED when the signal is aborted. */
  async hold(bytes: number, signal: AbortSignal): Promise<RequestHold> {
    if (bytes <= SMALL_REQUEST_BYTES) return NOTHING;
    const budget = this.#budgetFor(bytes);
    const share = new Share(budget, 0);
    await share.growTo(bytes, signal);
    return share;
  }

  #budgetFor(bytes: number): ByteBudget {
    return requestSize(bytes) === "large" ? this.#large : this.#middling;
  }
}

function budgetOf(maxBytes: number): ByteBudget {
  return new ByteBudget({ maxBytes, maxWaiting: MAX_WAITING, waitMs: WAIT_MS });
}

class Share implements RequestHold {
  readonly #budget: ByteBudget;
  #bytes: number;

  constructor(budget: ByteBudget, bytes: number) {
    this.#budget = budget;
    this.#bytes = bytes;
  }

  release(): void {
    this.shrinkTo(0);
  }

  shrinkTo(bytes: number): void {
    const spareBytes = this.#bytes - bytes;
    if (spareBytes <= 0) return;
    this.#bytes = bytes;
    this.#budget.giveBack(spareBytes);
  }

  async growTo(bytes: number, signal: AbortSignal): Promise<void> {
    const moreBytes = bytes - this.#bytes;
    if (moreBytes <= 0) return;
    const answer = await this.#budget.take(moreBytes, signal);
    if (answer === "gone") throw new BerthError("CANCELED", "the request was canceled");
    if (answer !== "taken") throw new BerthError("OVERLOADED", overloaded(this.#budget.maxBytes));
    this.#bytes += moreBytes;
  }
}

function overloaded(heldBytes: number): string {
  const size = heldBytes === MAX_LARGE_REQUESTS_BYTES ? "more than 1 MiB" : "more than 64 KiB";
  return `requests of ${size} with ${heldBytes / MIB} MiB together are being worked on: try again in a moment, send fewer at a time or smaller ones`;
}
