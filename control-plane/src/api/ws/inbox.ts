import {
  type BerthError,
  type RequestBudget,
  type RequestHold,
  type RequestSize,
  requestSize,
  toBerthError,
} from "@berth/service-kit";
import type { RawData, WebSocket } from "ws";

/** Messages of one socket that are worked on at once. */
export const MAX_IN_FLIGHT = 64;
const MIB = 1024 * 1024;
/**
 * Bytes of one socket's messages that are worked on at once, unless a single one is larger: a quarter of what all
 * together may hold, so that no socket keeps the others out.
 */
const MAX_SOCKET_BYTES: Readonly<Record<RequestSize, number>> = {
  // Bounded by their number.
  small: Number.POSITIVE_INFINITY,
  middling: 4 * MIB,
  large: 12 * MIB,
};
/** With more bytes of replies than this unread, no further message of a socket is worked on. */
const MAX_UNREAD_BYTES = 4 * MIB;

/**
 * Works on a message, or answers it with the refusal. Settles when the reply has left; must not reject.
 */
export type MessageWork = (message: Buffer, refusal: BerthError | undefined) => Promise<void>;

interface Waiting {
  /** Place among all messages of the socket. */
  readonly place: number;
  readonly message: Buffer;
  readonly work: MessageWork;
}

/** Messages of one size, which are begun in the order of their coming. */
interface Lane {
  readonly maxBytes: number;
  readonly waiting: Waiting[];
  bytes: number;
  inFlight: number;
  /** Whether the first that waits has asked for its share. */
  isAsking: boolean;
}

/**
 * Takes the messages of one socket, a bounded number and size at a time. One that waits for room or for its share of the
 * common budget is passed by those of other sizes. With more than one waiting, what comes stays in the kernel's
 * buffers, and the client's sending comes to a halt; what the socket had read by then waits here. A message that gets
 * no share in time is refused.
 */
export class Inbox {
  readonly #socket: WebSocket;
  readonly #budget: RequestBudget;
  readonly #closed = new AbortController();
  readonly #lanes: Readonly<Record<RequestSize, Lane>> = {
    small: laneOf("small"),
    middling: laneOf("middling"),
    large: laneOf("large"),
  };
  #inFlight = 0;
  #received = 0;

  /** `receive` is called for each message as it comes, and gives what works on it when its turn is there. */
  constructor(socket: WebSocket, budget: RequestBudget, receive: () => MessageWork) {
    this.#socket = socket;
    this.#budget = budget;
    socket.on("message", (data: RawData) => {
      const message = toBuffer(data);
      this.#received += 1;
      const place = this.#received;
      this.#lanes[requestSize(message.length)].waiting.push({ place, message, work: receive() });
      this.#admit();
    });
    socket.on("close", () => {
      for (const lane of this.#allLanes()) lane.waiting.length = 0;
      this.#closed.abort();
    });
  }

  #allLanes(): readonly Lane[] {
    return Object.values(this.#lanes);
  }

  #admit(): void {
    for (const lane of this.#allLanes()) this.#admitFrom(lane);
    const waiting = this.#allLanes().reduce((sum, lane) => sum + lane.waiting.length, 0);
    const isFull = this.#inFlight >= MAX_IN_FLIGHT || this.#isUnread();
    if (waiting > 1 || (isFull && this.#inFlight > 0)) this.#socket.pause();
    else if (this.#socket.isPaused) this.#socket.resume();
  }

  #admitFrom(lane: Lane): void {
    while (!lane.isAsking) {
      const next = lane.waiting[0];
      if (next === undefined || !this.#hasRoom(lane, next)) return;
      const hold = this.#budget.tryHold(next.message.length);
      if (hold === undefined) void this.#ask(lane, next.message);
      else this.#begin(lane, { hold });
    }
  }

  /**
   * What the socket has under way makes room when it ends. That may be waiting for the reply to an earlier message,
   * which has to have a place then: the last one is not for those that pass others.
   */
  #hasRoom(lane: Lane, { place, message }: Waiting): boolean {
    if (this.#inFlight === 0) return true;
    const passes = this.#allLanes().some(({ waiting: [first] }) => first && first.place < place);
    const places = passes ? MAX_IN_FLIGHT - 1 : MAX_IN_FLIGHT;
    if (this.#inFlight >= places || this.#isUnread()) return false;
    return lane.inFlight === 0 || lane.bytes + message.length <= lane.maxBytes;
  }

  #isUnread(): boolean {
    return this.#socket.bufferedAmount > MAX_UNREAD_BYTES;
  }

  async #ask(lane: Lane, { length }: Buffer): Promise<void> {
    lane.isAsking = true;
    const answer = await this.#budget.hold(length, this.#closed.signal).then(
      (hold) => ({ hold }),
      (thrown: unknown) => ({ refusal: toBerthError(thrown) }),
    );
    lane.isAsking = false;
    this.#begin(lane, answer);
    this.#admit();
  }

  /** Begins the first that waits; when the socket has closed meanwhile there is none. */
  #begin(lane: Lane, { hold, refusal }: { hold?: RequestHold; refusal?: BerthError }): void {
    const first = lane.waiting.shift();
    if (first === undefined) {
      hold?.release();
      return;
    }
    const { length } = first.message;
    this.#inFlight += 1;
    lane.inFlight += 1;
    lane.bytes += length;
    void first.work(first.message, refusal).finally(() => {
      this.#inFlight -= 1;
      lane.inFlight -= 1;
      lane.bytes -= length;
      hold?.release();
      this.#admit();
    });
  }
}

function laneOf(size: RequestSize): Lane {
  return {
    maxBytes: MAX_SOCKET_BYTES[size],
    waiting: [],
    bytes: 0,
    inFlight: 0,
    isAsking: false,
  };
}

function toBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
