import net from "node:net";

/**
 * The port when it can be opened on the address now, 0 (any) when another program has it. Somebody may
 * still take it in between; the listener then says so.
 */
export function freePortOr0(host: string, port: number): Promise<number> {
  if (port === 0) return Promise.resolve(0);
  const { promise, resolve } = Promise.withResolvers<number>();
  const probe = net.createServer();
  probe.once("error", () => resolve(0));
  probe.listen({ host, port }, () => probe.close(() => resolve(port)));
  return promise;
}
