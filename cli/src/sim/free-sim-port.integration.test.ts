import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { freePorts } from "@berth/service-kit/testing/free-ports";
import { afterEach, expect, it } from "vitest";
import { freeSimPort } from "./free-sim-port.ts";

const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    const closed = once(server, "close");
    server.close();
    await closed;
  }
});

/** Takes a port and, as far as nobody else has them, the `more` ones behind it. */
async function take(first: number, more: number): Promise<void> {
  for (let port = first; port <= first + more; port++) {
    const server = createServer();
    const settled = Promise.withResolvers<void>();
    for (const event of ["listening", "error"]) server.once(event, () => settled.resolve());
    server.listen(port, "127.0.0.1");
    await settled.promise;
    if (server.listening) servers.push(server);
  }
}

it("finds the next port when another fleet has the first", async () => {
  const [first = 0] = await freePorts(1);
  expect(await freeSimPort("127.0.0.1", first)).toBe(first);
  await take(first, 0);
  const next = await freeSimPort("127.0.0.1", first);
  expect(next).toBeGreaterThan(first);
  expect(next).toBeLessThan(first + 10);
});

it("leaves it to the simulator to say what is wrong when there is none", async () => {
  const [first = 0] = await freePorts(1);
  await take(first, 9);
  expect(await freeSimPort("127.0.0.1", first)).toBe(first);
  expect(await freeSimPort("192.0.2.1", first)).toBe(first);
});
