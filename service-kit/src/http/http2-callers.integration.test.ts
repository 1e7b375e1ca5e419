import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { silentLogger } from "../log.ts";
import { startTlsServer } from "../testing/tls-server.ts";
import { createHttp2Server, type Http2ServerOptions } from "./http2-server.ts";

const CANCEL = http2.constants.NGHTTP2_CANCEL;
const REFUSED_STREAM = http2.constants.NGHTTP2_REFUSED_STREAM;
const KEY = { authorization: "Bearer known" };
const isKnown = (authorization: string | undefined) => authorization === KEY.authorization;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Port {
  readonly port: number;
  /** A connection that speaks HTTP/2. */
  dial(): http2.ClientHttp2Session;
}

async function cleartext(options: Partial<Http2ServerOptions>): Promise<Port> {
  const server = createHttp2Server({
    name: "agents",
    handler: (_request, response) => response.end("hello"),
    address: { host: "127.0.0.1", port: 0, setting: "BERTH_AGENT_PORT" },
    logger: silentLogger,
    ...options,
  });
  await server.start();
  cleanups.push(() => server.stop());
  return { port: server.port, dial: () => dialled(`http://127.0.0.1:${server.port}`) };
}

async function withTls(options: Partial<Http2ServerOptions>): Promise<Port> {
  const { authority, server, url, stop } = await startTlsServer({ server: options });
  cleanups.push(stop);
  return { port: server.port, dial: () => dialled(url, authority.caPem) };
}

function dialled(url: string, ca?: string): http2.ClientHttp2Session {
  const client = http2.connect(url, ca === undefined ? {} : { ca });
  client.on("error", () => client.destroy());
  cleanups.push(() => client.destroy());
  return client;
}

function aSocket(port: number): net.Socket {
  const socket = net.connect(port, "127.0.0.1");
  cleanups.push(() => socket.destroy());
  socket.on("error", () => socket.destroy());
  return socket.resume();
}

/** The answer's text; "" when the connection closes before. */
async function ask(
  client: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders = {},
): Promise<string> {
  const stream = client.request(headers);
  let text = "";
  stream.on("error", () => stream.destroy());
  stream.setEncoding("utf8").on("data", (chunk) => {
    text += chunk;
  });
  await once(stream, "close");
  return text;
}

describe.each([
  ["cleartext", cleartext],
  ["TLS", withTls],
])("with %s a connection", (_what, open) => {
  it("without a known credential is closed after the grace, one with a credential stays", async () => {
    const { dial, port } = await open({ isKnown, unknownCallers: { graceMs: 1_500 } });
    const agent = dial();
    expect(await ask(agent, KEY)).toBe("hello");
    const begunAt = performance.now();
    const [silent, stranger, idle] = [aSocket(port), dial(), dial()];
    expect(await ask(stranger, { authorization: "Bearer other" })).toBe("hello");
    await Promise.all([silent, stranger, idle].map((one) => once(one, "close")));
    expect(performance.now() - begunAt).toBeGreaterThan(1_400);
    expect(agent.closed || agent.destroyed).toBe(false);
    expect(await ask(agent)).toBe("hello");
  });

  it("without a known credential is refused beyond the bound; those with one do not count", async () => {
    const { dial, port } = await open({
      isKnown,
      unknownCallers: { graceMs: 60_000, connections: 3 },
    });
    const agents: http2.ClientHttp2Session[] = [];
    for (let count = 0; count < 5; count += 1) {
      const agent = dial();
      expect(await ask(agent, KEY)).toBe("hello");
      agents.push(agent);
    }
    const silent = [aSocket(port), aSocket(port), aSocket(port)];
    await Promise.all(silent.map((socket) => once(socket, "connect")));
    for (let more = 0; more < 20; more += 1) await once(aSocket(port), "close");
    expect(silent.filter(({ closed }) => closed)).toEqual([]);
    for (const agent of agents) expect(await ask(agent)).toBe("hello");
    silent[0]?.destroy();
    await expect.poll(() => ask(dial(), KEY), { timeout: 5_000 }).toBe("hello");
  });

  it("has so many requests open as it may, and further ones refused or waiting", async () => {
    const handled: (() => void)[] = [];
    const { dial } = await open({
      maxStreams: 2,
      handler: (_request, response) => {
        handled.push(() => response.end("hello"));
      },
    });
    const client = dial();
    // Sent together with the preface: this client does not know of the limit yet.
    const eager = Array.from({ length: 5 }, () => client.request());
    const refused: number[] = [];
    for (const stream of eager) {
      stream.on("error", () => stream.destroy());
      stream.once("close", () => refused.push(stream.rstCode));
    }
    await expect.poll(() => refused).toEqual(Array(3).fill(REFUSED_STREAM));
    expect(client.remoteSettings.maxConcurrentStreams).toBe(2);
    const waiting = ask(client);
    await new Promise<void>((resolve) => client.ping(() => resolve()));
    expect(handled).toHaveLength(2);
    handled[0]?.();
    await expect.poll(() => handled.length).toBe(3);
    handled[2]?.();
    expect(await waiting).toBe("hello");
  });
});

describe("a request to a call that takes one message", () => {
  const UNARY = "/berth.agent.v1.AgentService/Register";
  const STREAMING = "/berth.agent.v1.AgentService/Report";

  /** A server that reads bodies as they come, and answers when they have ended. */
  const reading = () =>
    cleartext({
      unaryPaths: new Set([UNARY]),
      unaryBodyLimitMs: 300,
      handler: (request, response) => {
        request.resume();
        request.on("end", () => response.end("hello"));
      },
    });

  const post = (client: http2.ClientHttp2Session, path: string): http2.ClientHttp2Stream => {
    const stream = client.request({ ":method": "POST", ":path": path });
    stream.on("error", () => stream.destroy());
    return stream;
  };

  it("is cut when its body comes slowly, while a streaming one goes on", async () => {
    const { dial } = await reading();
    const client = dial();
    const streaming = post(client, STREAMING);
    streaming.write("one message");
    for (const path of [UNARY, `${UNARY}?connect=v1`]) {
      const slow = post(client, path);
      const trickle = setInterval(() => slow.write("x"), 20);
      await once(slow, "close");
      clearInterval(trickle);
      expect(slow.rstCode).toBe(CANCEL);
    }
    expect(streaming.closed).toBe(false);
    streaming.end("another one");
    const [headers] = await once(streaming, "response");
    expect(headers[":status"]).toBe(200);
  });

  it("is answered after any time when its body has ended, also when nobody reads it", async () => {
    const answers: (() => void)[] = [];
    const { dial } = await cleartext({
      unaryPaths: new Set([UNARY]),
      unaryBodyLimitMs: 50,
      handler: (_request, response) => {
        answers.push(() => response.end("hello"));
      },
    });
    const client = dial();
    const [whole, slow] = [post(client, UNARY), post(client, UNARY)];
    whole.end("a message");
    slow.write("a part");
    await once(slow, "close");
    expect(whole.closed).toBe(false);
    expect(answers).toHaveLength(2);
    answers[0]?.();
    const [headers] = await once(whole, "response");
    expect(headers[":status"]).toBe(200);
  });

  it("costs nothing when it has no body", async () => {
    const { dial } = await reading();
    expect(await ask(dial(), { ":path": UNARY })).toBe("hello");
  });
});

/** Preface, SETTINGS, HEADERS of a GET, then DATA of no stream, which ends the connection. */
const REQUEST_AND_FAULT = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  Buffer.from("000000040000000000", "hex"),
  Buffer.from("000006010500000001828486410178", "hex"),
  Buffer.from("00000100000000000078", "hex"),
]);

it("survives a request whose connection breaks in the same packet", async () => {
  const { dial, port } = await cleartext({ isKnown, unaryPaths: new Set(["/"]) });
  const socket = aSocket(port);
  socket.write(REQUEST_AND_FAULT);
  await once(socket, "close");
  expect(await ask(dial(), KEY)).toBe("hello");
});
