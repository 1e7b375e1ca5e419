import type { Socket } from "node:net";

/** How far what was written to a connection has left. */
export interface Departure {
  /** Bytes that the kernel has not taken yet. */
  pendingBytes(): number;
  /** Bytes that it has taken, since the connection began. */
  sentBytes(): number;
}

/** libuv's counts of a stream; net.Socket's own timeout goes by them. */
interface StreamHandle {
  /** Bytes that were handed to libuv. */
  readonly bytesWritten?: unknown;
  /** Those of them that the kernel has not taken. */
  readonly writeQueueSize?: unknown;
}

/**
 * The departure of a connection. Falls back to whole writes where Node does not show libuv's counts: a write of 20 MB is
 * pending then until the last byte of it has left.
 */
export function departureOf(socket: Socket): Departure {
  const sentBytes = (): number => {
    const { _handle: handle }: { readonly _handle?: StreamHandle | null } = socket as object;
    const { bytesWritten, writeQueueSize } = handle ?? {};
    if (typeof bytesWritten === "number" && typeof writeQueueSize === "number") {
      return bytesWritten - writeQueueSize;
    }
    return socket.bytesWritten - socket.writableLength;
  };
  return { sentBytes, pendingBytes: () => socket.bytesWritten - sentBytes() };
}
