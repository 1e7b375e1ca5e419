import { once } from "node:events";
import net from "node:net";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { silentLogger } from "../log.ts";
import { loopbackAuthenticator } from "../principal.ts";
import { HttpTraffic } from "./http-traffic.ts";
import { createHttpServer } from "./server.ts";

const MIB = 1024 * 1024;

let traffic: HttpTraffic;
let server: FastifyInstance;
let port: number;
/** Lets the handlers of /work answer. */
let work: PromiseWithResolvers<void>;
/** Handlers of /work that have begun. */
let begun: number;
let clients: net.Socket[];

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  traffic = new HttpTraffic();
  work = Promise.withResolvers();
  begun = 0;
  clients = [];
  server = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator("org-a"),
    logger: silentLogger,
    traffic,
  });
  server.post("/work", async () => {
    begun += 1;
    await work.promise;
    return { success: true };
  });
  server.get("/reply/:mib", async (request) => {
    const { mib } = request.params as { mib: string };
    return "x".repeat(Number(mib) * MIB);
  });
  await server.listen({ host: "127.0.0.1", port: 0 });
  port = (server.server.address() as net.AddressInfo).port;
});

afterEach(async () => {
  vi.useRealTimers();
  work.resolve();
  for (const client of clients) client.destroy();
  await server.close();
});

async function connected(): Promise<net.Socket> {
  const socket = net.connect(port, "127.0.0.1");
  socket.on("error", () => socket.destroy());
  clients.push(socket);
  await once(socket, "connect");
  return socket;
}

/** Sends a body of so many bytes, and gives the answer, which may come before all of it is sent. */
async function post(bytes: number, options: { readonly chunked?: boolean } = {}) {
  const socket = await connected();
  const answer = new Promise<string>((resolve) => {
    let text = "";
    socket.setEncoding("utf8").on("data", (piece: string) => {
      text += piece;
      if (text.endsWith("}")) resolve(text);
    });
  });
  const body = JSON.stringify("x".repeat(bytes - 2));
  const head = `POST /work HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n`;
  if (options.chunked === true) {
    socket.write(
      `${head}transfer-encoding: chunked\r\n\r\n${bytes.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    );
  } else socket.write(`${head}content-length: ${bytes}\r\n\r\n${body}`);
  return { socket, answer };
}

/** Lets the sockets do their work until it holds. */
async function until(holds: () => boolean): Promise<void> {
  for (let turn = 0; !holds(); turn += 1) {
    if (turn > 1_000_000) throw new Error("it never came to that");
    await new Promise((resolve) => setImmediate(resolve));
  }
}

it.each([false, true])(
  "reads as many large bodies as have a share (chunked: %s)",
  async (chunked) => {
    const posted = [];
    for (let count = 0; count < 3; count += 1) posted.push(await post(15 * MIB, { chunked }));
    await until(() => begun === 3);
    const fourth = await post(15 * MIB, { chunked });
    const small = await post(60_000, { chunked });
    await until(() => begun === 4);
    expect(traffic.requests.usedBytes).toBe(chunked ? 48 * MIB : 45 * MIB);
    await until(() => vi.getTimerCount() > 0);
    await vi.advanceTimersByTimeAsync(5_000);
    const refused = await fourth.answer;
    expect(refused).toMatch(/^HTTP\/1.1 429 .*"reason":"OVERLOADED"/s);
    expect(refused).toContain("try again in a moment");
    work.resolve();
    for (const { answer } of [...posted, small]) expect(await answer).toMatch(/^HTTP\/1.1 200/);
    expect(traffic.requests.usedBytes).toBe(0);
  },
);

it("reads a body that waited when another's reply is there", async () => {
  const first = await Promise.all([post(16 * MIB), post(16 * MIB), post(16 * MIB)]);
  await until(() => begun === 3);
  const waited = await post(16 * MIB);
  work.resolve();
  for (const { answer } of [...first, waited]) expect(await answer).toMatch(/^HTTP\/1.1 200/);
  expect(begun).toBe(4);
});

it.each([false, true])(
  "gives back what clients held that went away (chunked: %s)",
  async (chunked) => {
    const posted = await post(2 * MIB, { chunked });
    await until(() => begun === 1);
    posted.socket.destroy();
    const half = await connected();
    const length = chunked ? "transfer-encoding: chunked" : "content-length: 2000000";
    const head = `POST /work HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n${length}\r\n\r\n`;
    half.write(`${head}${chunked ? "186a0\r\n" : ""}"${"x".repeat(99_999)}`);
    await until(() => traffic.requests.usedBytes > (chunked ? 16 : 2) * MIB);
    half.destroy();
    work.resolve();
    await until(() => traffic.requests.usedBytes === 0);
    expect(begun).toBe(1);
  },
);

it("ends the connection that leaves most unread when all together leave too much", async () => {
  const ask = async (mib: number) => {
    const socket = await connected();
    socket.pause();
    socket.write(`GET /reply/${mib} HTTP/1.1\r\nhost: localhost\r\n\r\n`);
    return socket;
  };
  await ask(60);
  await until(() => traffic.replies.bytes === 60 * MIB);
  const large = await ask(61);
  await until(() => traffic.replies.bytes === 121 * MIB);
  const last = await ask(20);
  await until(() => traffic.replies.bytes === 80 * MIB);
  large.resume();
  await once(large, "close");
  last.resume();
  await until(() => traffic.replies.bytes === 60 * MIB);
});

it("ends a connection whose client does not take its reply", async () => {
  const socket = await connected();
  socket.pause();
  socket.write("GET /reply/30 HTTP/1.1\r\nhost: localhost\r\n\r\n");
  await until(() => traffic.replies.bytes === 30 * MIB);
  await vi.advanceTimersByTimeAsync(60_000);
  await until(() => traffic.replies.bytes === 0);
});
