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

const chunkOf = (bytes: number) => `${bytes.toString(16)}\r\n${"x".repeat(bytes)}\r\n`;

/** What a client has been sent by and by. */
function heardBy(socket: net.Socket): { text: string } {
  const heard = { text: "" };
  socket.setEncoding("utf8").on("data", (piece: string) => {
    heard.text += piece;
  });
  return heard;
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
    expect(traffic.requests.usedBytes).toBe(45 * MIB);
    await until(() => traffic.requests.waiting === 1);
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

it.each([
  ["GET /reply/0", "application/json", 200],
  ["POST /work", "text/plain", 415],
  ["POST /nowhere", "text/plain", 404],
  ["POST /nowhere", "application/json", 404],
  ["HEAD /reply/0", "application/json", 200],
])(
  "takes no share that it would keep for a chunked body of %s as %s",
  async (line, type, status) => {
    const held = traffic.requests.tryHold(48 * MIB);
    const socket = await connected();
    const heard = heardBy(socket);
    const head = `${line} HTTP/1.1\r\nhost: localhost\r\ncontent-type: ${type}\r\n`;
    socket.write(`${head}transfer-encoding: chunked\r\n\r\n${chunkOf(30_000)}`);
    await new Promise((resolve) => setImmediate(resolve));
    for (let count = 0; count < 6; count += 1) {
      socket.write(chunkOf(20_000));
      for (let turn = 0; turn < 20; turn += 1)
        await new Promise((resolve) => setImmediate(resolve));
    }
    await vi.advanceTimersByTimeAsync(20_000);
    if (!socket.destroyed) socket.write("0\r\n\r\n");
    await until(() => heard.text !== "");
    // A body that is read gets no share, and is refused before anybody sees that there is no such route.
    expect(heard.text).toMatch(new RegExp(`^HTTP/1.1 (${status}|429)`));
    socket.destroy();
    held?.release();
    await until(() => traffic.requests.waiting === 0 && traffic.requests.usedBytes === 0);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(traffic.requests.usedBytes).toBe(0);
  },
);

it.each([
  ["GET /reply/0", "application/json"],
  ["POST /work", "text/plain"],
  ["POST /nowhere", "text/plain"],
])("holds nothing for what comes after the reply to %s as %s", async (line, type) => {
  const socket = await connected();
  const heard = heardBy(socket);
  const head = `${line} HTTP/1.1\r\nhost: localhost\r\ncontent-type: ${type}\r\n`;
  socket.write(`${head}transfer-encoding: chunked\r\n\r\n${chunkOf(30_000)}`);
  await until(() => {
    vi.advanceTimersByTime(100);
    return heard.text !== "";
  });
  for (let count = 0; count < 12; count += 1) {
    if (!socket.destroyed) socket.write(chunkOf(20_000));
    for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }
  socket.destroy();
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(traffic.requests.usedBytes).toBe(0);
});

it("gives no share to who has sent no more than a head, and gives back what no longer comes", async () => {
  const head = `POST /work HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${16 * MIB}\r\n\r\n`;
  for (let count = 0; count < 6; count += 1) (await connected()).write(head);
  const first = await post(15 * MIB);
  await until(() => begun === 1);
  expect(traffic.requests.usedBytes).toBe(15 * MIB);
  for (let count = 0; count < 2; count += 1) {
    (await connected()).write(`${head}"${"x".repeat(100_000)}`);
  }
  await until(() => traffic.requests.usedBytes === 47 * MIB);
  const second = await post(15 * MIB);
  await until(() => traffic.requests.waiting === 1);
  await vi.advanceTimersByTimeAsync(1_000);
  await until(() => begun === 2);
  expect(traffic.requests.usedBytes).toBeLessThan(31 * MIB);
  work.resolve();
  for (const { answer } of [first, second]) expect(await answer).toMatch(/^HTTP\/1.1 200/);
});

it("reads a body to its end that stops for a while", async () => {
  const socket = await connected();
  const heard = heardBy(socket);
  const head = `POST /work HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 200000\r\n\r\n`;
  socket.write(`${head}"${"x".repeat(99_999)}`);
  await until(() => traffic.requests.usedBytes === 200_000);
  await vi.advanceTimersByTimeAsync(3_000);
  expect(traffic.requests.usedBytes).toBe(100_000);
  socket.write(`${"x".repeat(99_999)}"`);
  await until(() => begun === 1);
  expect(traffic.requests.usedBytes).toBe(200_000);
  work.resolve();
  await until(() => heard.text.endsWith("}"));
  expect(traffic.requests.usedBytes).toBe(0);
});

it("reads the rest of a refused body before it ends the connection", async () => {
  const held = traffic.requests.tryHold(48 * MIB);
  const socket = await connected();
  const heard = heardBy(socket);
  const head = `POST /work HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n`;
  socket.write(`${head}content-length: ${10 * MIB}\r\n\r\n${"x".repeat(MIB)}`);
  await until(() => traffic.requests.waiting === 1);
  await vi.advanceTimersByTimeAsync(5_000);
  // The client goes on, and reads when it has sent everything.
  for (let mib = 1; mib < 10; mib += 1) {
    expect(heard.text).toBe("");
    await new Promise<void>((resolve) => socket.write("x".repeat(MIB), () => resolve()));
  }
  await until(() => heard.text.endsWith("}"));
  expect(heard.text).toMatch(/^HTTP\/1.1 429 .*"reason":"OVERLOADED"/s);
  held?.release();
  expect(traffic.requests.usedBytes).toBe(0);
});

it("answers a refused client that sends no more", async () => {
  const held = traffic.requests.tryHold(48 * MIB);
  const socket = await connected();
  const heard = heardBy(socket);
  const head = `POST /work HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n`;
  socket.write(`${head}content-length: ${10 * MIB}\r\n\r\n${"x".repeat(MIB)}`);
  await until(() => traffic.requests.waiting === 1);
  await vi.advanceTimersByTimeAsync(5_000);
  await until(() => traffic.requests.waiting === 0 && vi.getTimerCount() > 0);
  await until(() => {
    vi.advanceTimersByTime(100);
    return heard.text.endsWith("}");
  });
  expect(heard.text).toMatch(/^HTTP\/1.1 429/);
  held?.release();
});

/** Without what replies take beside their bytes. */
const unreadMiB = () => Math.floor(traffic.replies.bytes / MIB);

it("ends the connection that leaves most unread when all together leave too much", async () => {
  const ask = async (mib: number) => {
    const socket = await connected();
    socket.pause();
    socket.write(`GET /reply/${mib} HTTP/1.1\r\nhost: localhost\r\n\r\n`);
    return socket;
  };
  await ask(60);
  await until(() => unreadMiB() === 60);
  const large = await ask(61);
  await until(() => unreadMiB() === 121);
  const last = await ask(20);
  await until(() => unreadMiB() === 80);
  large.resume();
  await once(large, "close");
  last.resume();
  await until(() => unreadMiB() === 60);
});
