import { once } from "node:events";
import type http from "node:http";
import net from "node:net";
import {
  createBoundedServer,
  HttpTraffic,
  loopbackAuthenticator,
  silentLogger,
} from "@berth/service-kit";
import { freePorts } from "@berth/service-kit/testing/free-ports";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import type { Allocator } from "../../allocation/allocator.ts";
import type { Autoscaler } from "../../autoscaler/autoscaler.ts";
import { WsEndpoints } from "./ws-server.ts";

const MIB = 1024 * 1024;
const HANDSHAKE = [
  "GET /ws HTTP/1.1",
  "host: localhost",
  "connection: upgrade",
  "upgrade: websocket",
  "sec-websocket-version: 13",
  "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
];

let traffic: HttpTraffic;
let server: http.Server;
let client: net.Socket;

function endpointsOf(more: { readonly pingIntervalMs?: number } = {}): WsEndpoints {
  return new WsEndpoints({
    allocator: { allocate: async () => ({ text: "x".repeat(40 * MIB) }) } as unknown as Allocator,
    blockMode: { answer: async () => ({ id: "c1" }) },
    authenticate: loopbackAuthenticator("org-a"),
    logger: silentLogger,
    origins: { allowedHosts: [], allowedOrigins: [] },
    traffic,
    feed: { subscribe: () => () => undefined },
    autoscaler: {} as Autoscaler,
    ...more,
  });
}

beforeEach(async () => {
  traffic = new HttpTraffic();
  const endpoints = endpointsOf();
  server = createBoundedServer((_request, response) => response.end());
  const uses = { "/ws": "allocator", "/feed": "feed", "/adhoc": "adhoc" } as const;
  endpoints.attach(server, new Map(Object.entries(uses)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  client = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1");
  client.on("error", () => client.destroy());
  await once(client, "connect");
});

afterEach(async () => {
  vi.useRealTimers();
  client.destroy();
  server.close();
  await once(server, "close");
});

/** The handshake with lines left out or put in the place of others. */
function handshake(changes: Readonly<Record<string, string>> = {}): string {
  const lines = HANDSHAKE.map((line) => {
    const change = Object.entries(changes).find(([start]) => line.startsWith(start));
    return change === undefined ? line : change[1];
  });
  return `${lines.filter((line) => line !== "").join("\r\n")}\r\n\r\n`;
}

it.each([
  ["no key", { "sec-websocket-key": "" }, 400, /Sec-WebSocket-Key/],
  ["another version", { "sec-websocket-version": "sec-websocket-version: 99" }, 400, /Version/],
  ["another method", { GET: "POST /ws HTTP/1.1" }, 405, /Invalid HTTP method/],
  ["no host", { host: "" }, 400, /host: required header is missing/],
  ["a foreign host", { host: "host: example.com" }, 403, /is not allowed/],
  ["another path", { GET: "GET /other HTTP/1.1" }, 404, /no WebSocket at \/other/],
])(
  "answers a handshake with %s with the error body, and ends",
  async (_what, changes, status, message) => {
    client.end(handshake(changes));
    const answer = (await client.setEncoding("utf8").toArray()).join("");
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    const [head = "", body = ""] = answer.split("\r\n\r\n");
    expect(head).toContain("connection: close");
    expect(JSON.parse(body)).toMatchObject({
      success: false,
      message: expect.stringMatching(message),
    });
  },
);

it("tells the versions that it speaks to a client that asks for another", async () => {
  client.end(handshake({ "sec-websocket-version": "sec-websocket-version: 99" }));
  const answer = (await client.setEncoding("utf8").toArray()).join("");
  expect(answer).toContain("sec-websocket-version: 13, 8\r\n");
});

it.each([
  ["a feed", "/feed?interval=x"],
  ["ad-hoc scaling", "/adhoc?keep_open=x"],
  ["approvals", "/adhoc?approvals=x"],
])("survives a bad frame behind a URL of %s that does not hold", async (_what, path) => {
  // A text frame that is not masked, in the packet of the handshake.
  const frame = Buffer.from([0x81, 0x01, 0x78]);
  client.write(Buffer.concat([Buffer.from(handshake({ GET: `GET ${path} HTTP/1.1` })), frame]));
  const answer = (await client.toArray()).join("");
  expect(answer).toMatch(/^HTTP\/1.1 101 /);
});

it("closes a socket whose URL does not hold with as much of the reason as fits", async () => {
  const path = `/feed?interval=${encodeURIComponent("€".repeat(40))}`;
  const { port } = server.address() as net.AddressInfo;
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
  const closed = once(socket, "close");
  const [frame] = await once(socket, "message");
  const message = `interval: expected a whole number of seconds from 1 to 3600, got "${"€".repeat(40)}"`;
  expect(JSON.parse(String(frame))).toMatchObject({ success: false, message });
  const [code, reason] = await closed;
  expect(code).toBe(1008);
  expect(message.startsWith(String(reason))).toBe(true);
  expect(Buffer.byteLength(String(reason))).toBeGreaterThan(119);
});

it("keeps sockets whose pongs take their time, on each of several ports", async () => {
  const endpoints = endpointsOf({ pingIntervalMs: 300 });
  const ports = await freePorts(2);
  const parts = ports.map((port) => endpoints.part({ host: "127.0.0.1", port, setting: "PORT" }));
  for (const part of parts) await part.start();
  try {
    const pings = await Promise.all(
      ports.map(async (port) => {
        const socket = new WebSocket(`ws://127.0.0.1:${port}`, { autoPong: false });
        let count = 0;
        socket.on("ping", () => {
          count += 1;
          setTimeout(() => socket.pong(), 50);
        });
        await vi.waitFor(() => expect(count).toBe(4), { timeout: 10_000 });
        const isOpen = socket.readyState === WebSocket.OPEN;
        socket.terminate();
        return isOpen;
      }),
    );
    expect(pings).toEqual([true, true]);
  } finally {
    for (const part of parts) await part.stop();
  }
});

/** Lets the sockets do their work until it holds. */
async function until(holds: () => boolean): Promise<void> {
  for (let turn = 0; !holds(); turn += 1) {
    if (turn > 1_000_000) throw new Error("it never came to that");
    await new Promise((resolve) => setImmediate(resolve));
  }
}

it("does not cut a single reply that leaves slowly, and does when it leaves no more", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  client.write(handshake());
  await once(client, "readable");
  // A masked text frame that holds {}.
  client.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x7b, 0x7d]));
  await until(() => traffic.replies.bytes > 0);
  for (let minute = 0; minute < 8; minute += 1) {
    for (let bytes = 0; bytes < 3 * MIB; ) {
      bytes += (client.read() as Buffer | null)?.length ?? 0;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await vi.advanceTimersByTimeAsync(60_000);
    expect(traffic.replies.bytes).toBeGreaterThan(40 * MIB);
  }
  await vi.advanceTimersByTimeAsync(120_000);
  expect(traffic.replies.bytes).toBe(0);
  client.resume();
  await once(client, "close");
});
