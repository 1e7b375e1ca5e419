import { once } from "node:events";
import net from "node:net";
import { gzipSync } from "node:zlib";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, expect, it } from "vitest";
import { silentLogger } from "../log.ts";
import { loopbackAuthenticator } from "../principal.ts";
import { HttpTraffic } from "./http-traffic.ts";
import { bodyObject, createHttpServer } from "./server.ts";

const GET = "GET /small HTTP/1.1\r\nhost: localhost\r\n\r\n";

let server: FastifyInstance;
let traffic: HttpTraffic;
let client: net.Socket;
let received: string;

beforeEach(async () => {
  traffic = new HttpTraffic();
  server = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator("org-a"),
    logger: silentLogger,
    traffic,
  });
  server.get("/small", async () => ({ success: true }));
  server.get("/large", async () => "x".repeat(60_000));
  server.post("/echo", async (request) => bodyObject(request));
  await server.listen({ host: "127.0.0.1", port: 0 });
  client = net.connect((server.server.address() as net.AddressInfo).port, "127.0.0.1");
  client.on("error", () => client.destroy());
  received = "";
  await once(client, "connect");
});

afterEach(async () => {
  client.destroy();
  await server.close();
});

function listen(): void {
  client.setEncoding("utf8").on("data", (piece: string) => {
    received += piece;
  });
}

const statuses = () => (received.match(/HTTP\/1\.1 \d+/g) ?? []).map((line) => line.slice(9));

function post(body: string | Buffer, ...headers: readonly string[]): Buffer {
  const lines = [
    "POST /echo HTTP/1.1",
    "host: localhost",
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
    ...headers,
  ];
  return Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`), Buffer.from(body)]);
}

it.each<[string, Buffer, RegExp]>([
  ["no JSON", post("{"), /400 .*JSON/s],
  ["no UTF-8", post(Buffer.of(0xff)), /400 .*not UTF-8 text/s],
  ["10,000 levels", post(`${"[".repeat(10_000)}${"]".repeat(10_000)}`), /400 .*nested/s],
  ["a list", post("[]"), /400 .*expected a JSON object, got array/s],
  ["nothing", post(""), /400 .*expected a JSON object, got nothing/s],
  ["gzip", post(gzipSync("{}"), "content-encoding: gzip"), /415 .*content-encoding: gzip is not/s],
  ["an expectation", post("{}", "expect: a-miracle"), /417 .*only 100-continue/s],
])("goes on with the connection after a body that is %s", async (_what, request, expected) => {
  listen();
  client.write(request);
  client.write(GET);
  await expect.poll(statuses).toHaveLength(2);
  expect(received).toMatch(expected);
  expect(received).toContain('"reason":"');
  expect(statuses()[1]).toBe("200");
});

it.each([
  ["this is no request\r\n\r\n", "400"],
  [`GET / HTTP/1.1\r\nx: ${"x".repeat(20_000)}\r\n\r\n`, "431"],
  [
    "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "400",
  ],
])(
  "answers %.20j, which Node cannot read, with the error body, and ends",
  async (bytes, status) => {
    listen();
    client.write(bytes);
    await once(client, "close");
    expect(statuses()).toContain(status);
    expect(received).toContain('"success":false');
  },
);

it("serves a client that pipelines", async () => {
  listen();
  client.write(GET.repeat(100));
  await expect.poll(statuses).toEqual(Array(100).fill("200"));
});

it("ends a connection that pipelines more than it reads, and holds nothing for it", async () => {
  client.pause();
  client.write("GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_500));
  await expect
    .poll(() => new Promise((resolve) => server.server.getConnections((_, n) => resolve(n))))
    .toBe(0);
  await expect.poll(() => traffic.replies.bytes).toBe(0);
});
