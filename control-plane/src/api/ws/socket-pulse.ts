import type { Socket } from "node:net";
import type { Departure } from "@berth/service-kit";
import type { WebSocket } from "ws";

type Pulsing = Pick<WebSocket, "isPaused" | "ping" | "terminate">;

/** What is known of the bytes of the connection below a socket. */
export interface PulseSource {
  readonly stream: Pick<Socket, "bytesRead">;
  readonly departure: Pick<Departure, "pendingBytes">;
}

interface Heard extends PulseSource {
  /** Bytes that had come at the last ping; undefined before the first. */
  bytes: number | undefined;
}

/** Finds sockets whose other end is gone: nothing of it has come since the last ping, no pong either. */
export class SocketPulse {
  readonly #heard = new WeakMap<Pulsing, Heard>();

  /** Counts what comes over a socket from now on. */
  watch(socket: Pulsing, { stream, departure }: PulseSource): void {
    this.#heard.set(socket, { stream, departure, bytes: undefined });
  }

  /** Ends the sockets that were silent since the last call, and pings the others. */
  ping(sockets: Iterable<Pulsing>): void {
    for (const socket of sockets) {
      const heard = this.#heard.get(socket);
      if (heard === undefined) continue;
      const { bytesRead } = heard.stream;
      // A paused socket reads nothing, and a ping behind replies has not come to its client: its silence says nothing.
      if (socket.isPaused || heard.departure.pendingBytes() > 0) {
        heard.bytes = undefined;
        continue;
      }
      // In the middle of a large message a client cannot answer a ping: what comes of the message is sign enough.
      if (heard.bytes === bytesRead) socket.terminate();
      else socket.ping();
      heard.bytes = bytesRead;
    }
  }
}
