import type { WebSocket } from "ws";

/** Longest time that a message may take to arrive, in ms. */
const MAX_ARRIVAL_MS = 60_000;
/** Bytes that the unfinished messages of all sockets may hold together. */
const MAX_UNFINISHED_BYTES = 256 * 1024 * 1024;
/** Size of an empty control frame of a client: two bytes of head and the mask. */
const CONTROL_FRAME_BYTES = 6;
const POLICY_VIOLATION = 1008;
const CLOSE_GRACE_MS = 500;

interface Watched {
  readonly socket: WebSocket;
  readonly stream: { readonly bytesRead: number };
  /** Bytes of the stream that belong to what has arrived whole. */
  wholeBytes: number;
  /** When the message that is arriving was first seen, in ms. */
  sinceMs: number | undefined;
}

/**
 * Ends sockets whose messages do not end: they would be kept in memory for as long as their client answers
 * pings. Looks at how many bytes have come since the last whole message.
 */
export class UnfinishedMessages {
  readonly #watched = new Set<Watched>();

  /** Watches a socket until it closes; `stream` is the connection below it. */
  watch(socket: WebSocket, stream: { readonly bytesRead: number }): void {
    const watched: Watched = { socket, stream, wholeBytes: stream.bytesRead, sinceMs: undefined };
    this.#watched.add(watched);
    const control = (data: Buffer) => {
      watched.wholeBytes += CONTROL_FRAME_BYTES + data.length;
    };
    socket.on("ping", control);
    socket.on("pong", control);
    socket.on("message", () => {
      watched.wholeBytes = stream.bytesRead;
      watched.sinceMs = undefined;
    });
    socket.on("close", () => this.#watched.delete(watched));
  }

  /** Ends what takes too long, and the largest ones when all together are too large. */
  sweep(nowMs: number): void {
    const unfinished: { readonly watched: Watched; readonly bytes: number }[] = [];
    for (const watched of this.#watched) {
      const bytes = watched.stream.bytesRead - watched.wholeBytes;
      // While the server itself does not read, the message is late through no fault of the client.
      if (bytes <= 0 || watched.socket.isPaused) watched.sinceMs = undefined;
      else {
        watched.sinceMs ??= nowMs;
        if (nowMs - watched.sinceMs > MAX_ARRIVAL_MS)
          end(watched.socket, "the message took too long");
        else unfinished.push({ watched, bytes });
      }
    }
    let total = unfinished.reduce((sum, { bytes }) => sum + bytes, 0);
    if (total <= MAX_UNFINISHED_BYTES) return;
    for (const { watched, bytes } of unfinished.sort((a, b) => b.bytes - a.bytes)) {
      if (total <= MAX_UNFINISHED_BYTES) return;
      end(watched.socket, "too many large messages are arriving at once");
      total -= bytes;
    }
  }
}

function end(socket: WebSocket, why: string): void {
  if (socket.readyState !== socket.OPEN) return;
  socket.close(POLICY_VIOLATION, why);
  setTimeout(() => socket.terminate(), CLOSE_GRACE_MS).unref();
}
