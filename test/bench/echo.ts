import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";

/** A WebSocket server of this process that sends every message back: the baseline of socket figures. */
export interface Echo {
  readonly url: string;
  close(): void;
}

/** Starts an {@link Echo} on a free port. */
export async function startEcho(): Promise<Echo> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  server.on("connection", (socket) => socket.on("message", (data) => socket.send(String(data))));
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { url: `ws://127.0.0.1:${port}`, close: () => server.close() };
}
