import type { Departure, HttpTraffic } from "@berth/service-kit";
import type { WebSocket } from "ws";

/** A socket that frames go out on. */
export interface FrameTaker {
  readonly socket: WebSocket;
  /** That of the connection below it. */
  readonly departure: Departure;
  readonly traffic: Pick<HttpTraffic, "replies">;
}

/**
 * Sends a text frame: resolves when it has left or the socket is gone, never rejects. A client that takes nothing is cut off in a
 * minute or two, or earlier when all clients together leave too much unread.
 */
export function sendFrame(
  { socket, departure, traffic }: FrameTaker,
  frame: Buffer,
): Promise<void> {
  return new Promise((resolve) => {
    if (socket.readyState !== socket.OPEN) {
      resolve();
      return;
    }
    const taker = { departure, end: () => socket.terminate() };
    traffic.replies.sending(socket, frame.length, taker);
    socket.send(frame, { binary: false }, () => {
      traffic.replies.left(socket, frame.length);
      resolve();
    });
  });
}
