import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { afterEach, expect, it } from "vitest";
import { PortBook } from "./free-ports.ts";

const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** A port that somebody listens on. */
async function takenPort(host: string): Promise<number> {
  const server = createServer();
  servers.push(server);
  server.listen(0, host);
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

it.each(["127.0.0.1", "0.0.0.0"])("gives out no port that somebody has on %s", async (host) => {
  const first = await takenPort(host);
  const book = new PortBook({ first, last: first }, () => 0);
  await expect(book.choose()).rejects.toMatchObject({ reason: "UNAVAILABLE" });
  expect(await book.areFree({ control: first, metrics: first })).toBe(false);
});

it("gives out each port of its range once, until it is given back", async () => {
  const range = { first: 29_900, last: 29_907 };
  const book = new PortBook(range, () => 0.99);
  const given = [await book.choose(), await book.choose()];
  const ports = given.flatMap(({ control, metrics }) => [control, metrics]);
  expect(new Set(ports).size).toBe(4);
  for (const port of ports) {
    expect(port).toBeGreaterThanOrEqual(range.first);
    expect(port).toBeLessThanOrEqual(range.last);
  }
  await Promise.all([book.choose(), book.choose()]).catch(() => undefined);
  await expect(book.choose()).rejects.toThrow("no port from 29900 to 29907 is free");
  const [first] = given;
  if (first === undefined) throw new Error("none was given");
  book.release(first);
  const again = await book.choose();
  expect(ports).toEqual(expect.arrayContaining([again.control, again.metrics]));
});
