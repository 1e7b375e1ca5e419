import { once } from "node:events";
import net from "node:net";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { silentLogger } from "../log.ts";
import { loopbackAuthenticator } from "../principal.ts";
import { departureOf } from "./departure.ts";
import { HttpTraffic } from "./http-traffic.ts";
import { createHttpServer } from "./server.ts";

const MIB = 1024 * 1024;
const LARGE = "GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n";
const SLOW = "GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n";

let traffic: HttpTraffic;
let server: FastifyInstance;
let client: net.Socket;
/** The server's end of it. */
let served: net.Socket;
/** Lets the handlers of /slow answer. */
let work: PromiseWithResolvers<void>;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  traffic = new HttpTraffic();
  work = Promise.withResolvers();
  server = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator("org-a"),
    logger: silentLogger,
    traffic,
  });
  server.get("/large", async () => "x".repeat(40 * MIB));
  server.get("/slow", async () => {
    await work.promise;
    return { success: true };
  });
  await server.listen({ host: "127.0.0.1", port: 0 });
  const connection = once(server.server, "connection");
  client = net.connect((server.server.address() as net.AddressInfo).port, "127.0.0.1");
  client.on("error", () => client.destroy());
  await once(client, "connect");
  client.pause();
  [served] = (await connection) as [net.Socket];
});

afterEach(async () => {
  vi.useRealTimers();
  work.resolve();
  client.destroy();
  await server.close();
});

/** Lets the sockets do their work until it holds. */
async function until(holds: () => boolean): Promise<void> {
  for (let turn = 0; !holds(); turn += 1) {
    if (turn > 1_000_000) throw new Error("it never came to that");
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Reads so many bytes and no more. */
async function take(bytes: number): Promise<void> {
  for (let left = bytes; left > 0; ) {
    const piece = client.read(Math.min(left, client.readableLength)) as Buffer | null;
    left -= piece?.length ?? 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

it("does not cut a single reply that leaves slowly, however long it takes", async () => {
  client.on("readable", () => undefined);
  client.write(LARGE);
  await until(() => traffic.replies.bytes > 0);
  const { sentBytes } = departureOf(served);
  for (let minute = 0; minute < 10; minute += 1) {
    const beforeBytes = sentBytes();
    // Windows open in steps.
    while (sentBytes() === beforeBytes) await take(MIB / 4);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(traffic.replies.bytes).toBeGreaterThan(40 * MIB);
  }
  client.removeAllListeners("readable").resume();
  await until(() => traffic.replies.bytes === 0);
  expect(client.closed).toBe(false);
});

it("ends a connection whose client takes nothing of its reply", async () => {
  client.write(LARGE);
  await until(() => traffic.replies.bytes > 0);
  // What the kernels' buffers take has left by the first look.
  await vi.advanceTimersByTimeAsync(120_000);
  await until(() => served.destroyed);
  expect(traffic.replies.bytes).toBe(0);
});

it("does not cut a reply that waits for the one to an earlier request of its connection", async () => {
  client.write(SLOW + LARGE);
  await until(() => traffic.replies.bytes > 40 * MIB);
  await vi.advanceTimersByTimeAsync(600_000);
  work.resolve();
  client.resume();
  await until(() => traffic.replies.bytes === 0);
  expect(client.closed).toBe(false);
});

it("tells what the kernel has taken of a write before all of it has left", async () => {
  const departure = departureOf(served);
  served.write(Buffer.alloc(40 * MIB));
  served.write("more");
  await until(() => departure.sentBytes() > 0);
  expect(departure.pendingBytes() + departure.sentBytes()).toBe(40 * MIB + 4);
  expect(served.writableLength).toBe(40 * MIB + 4);
  client.resume();
  await until(() => departure.pendingBytes() === 0);
  expect(departure.sentBytes()).toBe(40 * MIB + 4);
});
