import { createServer } from "node:net";

/** Ports of simulators, from {@link DEFAULT_SIM_PORT} on: as many fleets find one of their own. */
const PORTS = 10;

/** Where a simulator's REST surface is when nobody says. */
export const DEFAULT_SIM_PORT = 31_990;

/**
 * A port for a simulator: the first of ten from {@link DEFAULT_SIM_PORT} on that can be opened on the address now.
 * The default when none can: the simulator then says why.
 */
export async function freeSimPort(host: string, first = DEFAULT_SIM_PORT): Promise<number> {
  for (let port = first; port < first + PORTS; port++) {
    if (await canListen(host, port)) return port;
  }
  return first;
}

function canListen(host: string, port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const probe = createServer();
  probe.once("error", () => resolve(false));
  probe.listen({ host, port }, () => probe.close(() => resolve(true)));
  return promise;
}
