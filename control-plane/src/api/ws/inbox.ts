import {
  type BerthError,
  type RequestBudget,
  type RequestHold,
  toBerthError,
} from "@berth/service-kit";
import type { RawData, WebSocket } from "ws";

/** Messages of one socket that are worked on at once. */
export const MAX_IN_FLIGHT = 64;
/** Bytes of one socket's messages that are worked on at once, unless a single one is larger. */
const MAX_SOCKET_BYTES = 16 * 1024 * 1024;
/** With more bytes of replies than this unread, no further message of a socket is worked on. */
const MAX_UNREAD_BYTES = 4 * 1024 * 1024;

/**
 * Works on a message, or answers it with the refusal. Settles when the reply has left; must not reject.
 */
export type MessageWork = (message: Buffer, refusal: BerthError | undefined) => Promise<void>;

/**
 * Takes the messages of one socket, a bounded number and size at a time. What is beyond that stays in the
 * kernel's buffers, and the client's sending comes to a halt; what the socket had read by then waits here. A
 * message that gets no share of the common budget in time is refused.
 */
export class Inbox {
  readonly #socket: WebSocket;
  readonly #budget: RequestBudget;
  readonly #work: MessageWork;
  readonly #waiting: Buffer[] = [];
  readonly #closed = new AbortController();
  /** Whether the first that waits has asked for its share. */
  #isAsking = false;
  #inFlight = 0;
  #bytes = 0;

  constructor(socket: WebSocket, budget: RequestBudget, work: MessageWork) {
    this.#socket = socket;
    this.#budget = budget;
    this.#work = work;
    socket.on("message", (data: RawData) => {
      this.#waiting.push(toBuffer(data));
      this.#admit();
    });
    socket.on("close", () => {
      this.#waiting.length = 0;
      this.#closed.abort();
    });
  }

  #admit(): void {
    while (!this.#isAsking) {
      const [next] = this.#waiting;
      if (next === undefined || !this.#hasRoom(next)) break;
      const hold = this.#budget.tryHold(next.length);
      if (hold === undefined) void this.#ask(next);
      else this.#begin({ hold });
    }
    const isFull = this.#inFlight >= MAX_IN_FLIGHT || this.#bytes >= MAX_SOCKET_BYTES;
    if (isFull || this.#waiting.length > 0) this.#socket.pause();
    else if (this.#socket.isPaused) this.#socket.resume();
  }

  /** What the socket has under way makes room when it ends. */
  #hasRoom({ length }: Buffer): boolean {
    if (this.#inFlight === 0) return true;
    if (this.#inFlight >= MAX_IN_FLIGHT || this.#bytes + length > MAX_SOCKET_BYTES) return false;
    return this.#socket.bufferedAmount <= MAX_UNREAD_BYTES;
  }

  async #ask({ length }: Buffer): Promise<void> {
    this.#isAsking = true;
    const answer = await this.#budget.hold(length, this.#closed.signal).then(
      (hold) => ({ hold }),
      (thrown: unknown) => ({ refusal: toBerthError(thrown) }),
    );
    this.#isAsking = false;
    this.#begin(answer);
    this.#admit();
  }

  /** Begins the first that waits; when the socket has closed meanwhile there is none. */
  #begin({ hold, refusal }: { readonly hold?: RequestHold; readonly refusal?: BerthError }): void {
    const message = this.#waiting.shift();
    if (message === undefined) {
      hold?.release();
      return;
    }
    const { length } = message;
    this.#inFlight += 1;
    this.#bytes += length;
    void this.#work(message, refusal).finally(() => {
      this.#inFlight -= 1;
      this.#bytes -= length;
      hold?.release();
      this.#admit();
    });
  }
}

function toBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
