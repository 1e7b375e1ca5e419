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
/** Lets the handlers of /slow answer. */
let work: PromiseWithResolvers<void>;
/** Handlers of /slow that have begun. */
let begun: number;

beforeEach(async () => {
  traffic = new HttpTraffic();
  work = Promise.withResolvers();
  begun = 0;
  server = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator("org-a"),
    logger: silentLogger,
    traffic,
  });
  server.get("/small", async () => ({ success: true }));
  server.post("/slow", async () => {
    begun += 1;
    await work.promise;
    return { slow: true };
  });
  server.get("/large", async () => "x".repeat(60_000));
  server.post("/echo", async (request) => bodyObject(request));
  await server.listen({ host: "127.0.0.1", port: 0 });
  client = net.connect((server.server.address() as net.AddressInfo).port, "127.0.0.1");
  client.on("error", () => client.destroy());
  received = "";
  await once(client, "connect");
});

afterEach(async () => {
  work.resolve();
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

it.each([
  ["what is large", "GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n"],
  ["what is refused", "GET /small HTTP/1.1\r\nhost: localhost\r\nexpect: a-miracle\r\n\r\n"],
])(
  "ends a connection that pipelines more than it reads of %s, and holds nothing for it",
  async (_what, request) => {
    client.pause();
    client.write(request.repeat(6_000));
    await expect
      .poll(() => new Promise((resolve) => server.server.getConnections((_, n) => resolve(n))))
      .toBe(0);
    await expect.poll(() => traffic.replies.bytes).toBe(0);
  },
);

const SLOW = "POST /slow HTTP/1.1\r\nhost: localhost\r\n\r\n";

it("answers what it has taken of a client that pipelines too much, says so, and ends", async () => {
  listen();
  client.write(SLOW + GET.repeat(400));
  await expect.poll(() => begun).toBe(1);
  await new Promise((resolve) => setImmediate(resolve));
  expect(received).toBe("");
  work.resolve();
  await once(client, "close");
  expect(statuses()).toEqual([...Array(128).fill("200"), "429"]);
  expect(received).toMatch(/connection: close\r\n.*"reason":"OVERLOADED"\}$/is);
});

it.each([
  ["what is no request", "GARBAGE\r\n\r\n", /this is no HTTP request/],
  [
    "a body that is none",
    "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    /this is no HTTP request/,
  ],
  ["CONNECT", "CONNECT berth:80 HTTP/1.1\r\nhost: localhost\r\n\r\n", /no proxy/],
])("lets the replies before %s leave first", async (_what, bytes, message) => {
  listen();
  client.write(SLOW + GET + bytes);
  await expect.poll(() => begun).toBe(1);
  client.write("and more of it\r\n\r\n");
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(received).toBe("");
  work.resolve();
  await once(client, "close");
  expect(statuses()).toEqual(["200", "200", "400"]);
  expect(received).toMatch(message);
  expect(received).toContain('"success":false');
});

it("tells a client of HTTP/1.1 that names no host, and goes on", async () => {
  listen();
  client.write(`GET /small HTTP/1.1\r\n\r\n${GET}`);
  await expect.poll(statuses).toEqual(["400", "200"]);
  expect(received).toContain('"message":"host: required header is missing"');
});
