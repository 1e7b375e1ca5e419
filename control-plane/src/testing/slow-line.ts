import { once } from "node:events";
import net from "node:net";

/**
 * Starts a TCP relay before a port of this machine that carries so many bytes per ms towards it, and replies at once: the
 * line of an agent far away. `onEnd` is given what ends it. Gives its port.
 */
export async function startSlowLine(
  onEnd: (end: () => void) => void,
  { targetPort, bytesPerMs }: { readonly targetPort: number; readonly bytesPerMs: number },
): Promise<number> {
  const sockets = new Set<net.Socket>();
  const line = net.createServer((agent) => {
    const server = net.connect(targetPort, "127.0.0.1");
    for (const socket of [agent, server]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
    }
    agent.on("data", (bytes: Buffer) => {
      agent.pause();
      setTimeout(() => {
        if (!server.destroyed) server.write(bytes);
        agent.resume();
      }, bytes.byteLength / bytesPerMs);
    });
    agent.on("close", () => server.destroy());
    server.pipe(agent);
  });
  line.listen(0, "127.0.0.1");
  await once(line, "listening");
  onEnd(() => {
    for (const socket of sockets) socket.destroy();
    line.close();
  });
  return (line.address() as net.AddressInfo).port;
}
