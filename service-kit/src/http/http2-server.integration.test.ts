import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import { afterEach, expect, it } from "vitest";
import { silentLogger } from "../log.ts";
import { startHalfOpenProxy } from "../testing/half-open-proxy.ts";
import { createHttp2Server, type Http2Server } from "./http2-server.ts";

const PING_MS = 100;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

it("serves requests, gives its real port, and pings keep a quiet connection open", async () => {
  const server = await aServer();
  const client = connectTo(server.port);
  const pinged = new Promise<void>((resolve) => {
    let pings = 0;
    client.on("ping", () => {
      pings += 1;
      if (pings === 6) resolve();
    });
  });
  await pinged;
  expect(await get(client)).toBe("hello");
});

it("destroys a half-open connection within three intervals and aborts its streams", async () => {
  const streamClosed = Promise.withResolvers<number>();
  const streamOpen = Promise.withResolvers<void>();
  const server = await aServer((_request, response) => {
    response.writeHead(200);
    response.write("begun");
    streamOpen.resolve();
    response.on("close", () => streamClosed.resolve(performance.now()));
  });
  const proxy = await startHalfOpenProxy({ add: (task) => cleanups.push(task) }, server.port);
  const client = connectTo(proxy.port);
  client.request().resume();
  await streamOpen.promise;
  proxy.cut("both");
  const cutAt = performance.now();
  const took = (await streamClosed.promise) - cutAt;
  expect(took).toBeLessThan(3 * PING_MS + 2_000);
  expect(took).toBeGreaterThan(PING_MS);
});

it("stops while clients are connected and streams are open", async () => {
  const server = await aServer((_request, response) => {
    response.writeHead(200);
    response.write("begun");
  });
  const client = connectTo(server.port);
  const stream = client.request();
  await once(stream, "response");
  const closed = once(client, "close");
  await server.stop();
  await closed;
  await server.stop();
});

it.each([
  ["64 KiB", {}, 65_535],
  ["as much as it is told to", { windowBytes: 300_000 }, 300_000],
])("lets a caller send %s ahead, on a stream and in all", async (_name, options, windowBytes) => {
  const server = createHttp2Server({
    name: "agents",
    handler: () => undefined,
    address: { host: "127.0.0.1", port: 0, setting: "BERTH_AGENT_PORT" },
    logger: silentLogger,
    ...options,
  });
  await server.start();
  cleanups.push(() => server.stop());
  const client = connectTo(server.port);
  await once(client, "remoteSettings");
  await new Promise<void>((resolve) => client.ping(() => resolve()));
  expect(client.remoteSettings.initialWindowSize).toBe(windowBytes);
  expect(client.state.remoteWindowSize).toBe(windowBytes);
});

it("names the setting when the port is taken, and can be stopped after that", async () => {
  const first = await aServer();
  const second = makeServer(first.port);
  await expect(second.start()).rejects.toThrow(
    `port ${first.port} on 127.0.0.1 is taken by another program; set BERTH_AGENT_PORT to another port`,
  );
  await second.stop();
  expect(await get(connectTo(first.port))).toBe("hello");
});

it.each([
  ["192.0.2.1", "EADDRNOTAVAIL"],
  ["127.0.0.1:80", "E"],
])("names the host's setting when it cannot listen on %s", async (host, code) => {
  const server = createHttp2Server({
    name: "agents",
    handler: (_request, response) => response.end(),
    address: { host, port: 0, setting: "BERTH_AGENT_PORT", hostSetting: "BERTH_AGENT_HOST" },
    logger: silentLogger,
  });
  await expect(server.start()).rejects.toThrow(
    new RegExp(
      `^"${host}" is no host .*\\(${code}.*expected.*; set BERTH_AGENT_HOST to another one$`,
    ),
  );
  await server.stop();
});

it.each([
  "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
  "\u0000\u0001\u0002 garbage",
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n then garbage that is no frame at all",
  "",
])("survives a client that sends %j", async (bytes) => {
  const server = await aServer();
  const socket = net.connect(server.port, "127.0.0.1");
  socket.on("error", () => socket.destroy());
  socket.resume();
  await once(socket, "connect");
  const closed = once(socket, "close");
  socket.end(bytes);
  await closed;
  expect(await get(connectTo(server.port))).toBe("hello");
});

type Handler = Parameters<typeof createHttp2Server>[0]["handler"];

function makeServer(
  port: number,
  handler: Handler = (_request, response) => response.end("hello"),
) {
  const server = createHttp2Server({
    name: "agents",
    handler,
    address: { host: "127.0.0.1", port, setting: "BERTH_AGENT_PORT" },
    logger: silentLogger,
    pingIntervalMs: PING_MS,
  });
  cleanups.push(() => server.stop());
  return server;
}

async function aServer(handler?: Handler): Promise<Http2Server> {
  const server = makeServer(0, handler);
  await server.start();
  expect(server.port).toBeGreaterThan(0);
  return server;
}

function connectTo(port: number): http2.ClientHttp2Session {
  const client = http2.connect(`http://127.0.0.1:${port}`);
  client.on("error", () => client.destroy());
  cleanups.push(() => client.destroy());
  return client;
}

async function get(client: http2.ClientHttp2Session): Promise<string> {
  const stream = client.request();
  let text = "";
  stream.setEncoding("utf8").on("data", (chunk) => {
    text += chunk;
  });
  await once(stream, "end");
  return text;
}
