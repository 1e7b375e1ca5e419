import { once } from "node:events";
import net from "node:net";

/** Which way a {@link HalfOpenProxy} stops to forward: towards the server, the client, or both. */
export type CutDirection = "to server" | "to client" | "both";

/** A TCP relay that can fall silent without closing either side, as a cut cable or a lost NAT entry does. */
export interface HalfOpenProxy {
  readonly port: number;
  /** Sockets that the server's side has not closed. */
  openToServer(): number;
  /** Sockets that the client's side has not closed. */
  openToClient(): number;
  /** Stops to forward on the connections that are open; new ones are forwarded. */
  cut(direction: CutDirection): void;
}

/** Ends what a test has begun. */
export interface TestCleanup {
  add(task: () => unknown): void;
}

/** Starts a proxy before a port of this machine; it ends with the test. */
export async function startHalfOpenProxy(
  cleanup: TestCleanup,
  targetPort: number,
): Promise<HalfOpenProxy> {
  const pairs: { readonly client: net.Socket; readonly server: net.Socket }[] = [];
  const proxy = net.createServer((client) => {
    const server = net.connect(targetPort, "127.0.0.1");
    for (const socket of [client, server]) socket.on("error", () => socket.destroy());
    client.pipe(server).pipe(client);
    pairs.push({ client, server });
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  cleanup.add(() => {
    for (const { client, server } of pairs) {
      client.destroy();
      server.destroy();
    }
    proxy.close();
  });
  return {
    port: (proxy.address() as net.AddressInfo).port,
    openToServer: () => pairs.filter(({ server }) => !server.closed).length,
    openToClient: () => pairs.filter(({ client }) => !client.closed).length,
    cut(direction) {
      for (const { client, server } of pairs) {
        if (direction !== "to client") silence(client, server);
        if (direction !== "to server") silence(server, client);
      }
    },
  };
}

/** Takes in what a socket still sends, and forwards nothing of it, not even its end. */
function silence(from: net.Socket, to: net.Socket): void {
  from.unpipe(to);
  from.resume();
}
