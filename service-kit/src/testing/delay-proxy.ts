import { once } from "node:events";
import net from "node:net";
import type { TestCleanup } from "./half-open-proxy.ts";

/**
 * Starts a TCP relay before a port of this machine that keeps each packet for `delayMs`, each way, and ends with the
 * test: a link with latency and all the bandwidth. Gives its port.
 */
export async function startDelayProxy(
  cleanup: TestCleanup,
  { targetPort, delayMs }: { readonly targetPort: number; readonly delayMs: number },
): Promise<number> {
  const sockets = new Set<net.Socket>();
  const proxy = net.createServer((client) => {
    const server = net.connect(targetPort, "127.0.0.1");
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => socket.destroy());
    }
    forward(client, server, delayMs);
    forward(server, client, delayMs);
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  cleanup.add(() => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  return (proxy.address() as net.AddressInfo).port;
}

function forward(from: net.Socket, to: net.Socket, delayMs: number): void {
  from.on("data", (bytes) => {
    setTimeout(() => {
      if (!to.destroyed) to.write(bytes);
    }, delayMs);
  });
  from.on("close", () => setTimeout(() => to.destroy(), delayMs));
}
