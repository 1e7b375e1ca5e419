import type { RawData, WebSocket } from "ws";
import type { ByteBudget } from "./byte-budget.ts";

/** Messages of one socket that are worked on at once. */
export const MAX_IN_FLIGHT = 64;
/** Bytes of one socket's messages that are worked on at once, unless a single one is larger. */
const MAX_SOCKET_BYTES = 32 * 1024 * 1024;
/** Messages up to this size do not need a share of the common budget. */
const SMALL_BYTES = 64 * 1024;

/**
 * Takes the messages of one socket, a bounded number and size at a time. What is beyond that stays in the
 * kernel's buffers, and the client's sending comes to a halt; what the socket had read by then waits here.
 */
export class Inbox {
  readonly #socket: WebSocket;
  readonly #budget: ByteBudget;
  readonly #work: (message: Buffer) => Promise<void>;
  readonly #waiting: Buffer[] = [];
  readonly #admitMore = (): void => this.#admit();
  #inFlight = 0;
  #bytes = 0;

  /** `work` settles when the message's reply has left; it must not reject. */
  constructor(socket: WebSocket, budget: ByteBudget, work: (message: Buffer) => Promise<void>) {
    this.#socket = socket;
    this.#budget = budget;
    this.#work = work;
    socket.on("message", (data: RawData) => {
      this.#waiting.push(toBuffer(data));
      this.#admit();
    });
    socket.on("close", () => {
      this.#waiting.length = 0;
      budget.forget(this.#admitMore);
    });
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (!this.#hasRoom(next)) break;
      this.#waiting.shift();
      this.#begin(next);
    }
    const isFull = this.#inFlight >= MAX_IN_FLIGHT || this.#bytes >= MAX_SOCKET_BYTES;
    if (isFull || this.#waiting.length > 0) this.#socket.pause();
    else if (this.#socket.isPaused) this.#socket.resume();
  }

  #hasRoom({ length }: Buffer): boolean {
    if (this.#inFlight >= MAX_IN_FLIGHT) return false;
    if (this.#inFlight > 0 && this.#bytes + length > MAX_SOCKET_BYTES) return false;
    if (length <= SMALL_BYTES || this.#budget.tryTake(length)) return true;
    this.#budget.whenGivenBack(this.#admitMore);
    return false;
  }

  #begin(message: Buffer): void {
    const { length } = message;
    this.#inFlight += 1;
    this.#bytes += length;
    void this.#work(message).finally(() => {
      this.#inFlight -= 1;
      this.#bytes -= length;
      if (length > SMALL_BYTES) this.#budget.giveBack(length);
      this.#admit();
    });
  }
}

function toBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
