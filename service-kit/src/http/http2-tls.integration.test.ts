import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import tls from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import type { ServerCertificate } from "../identity/authority.ts";
import { silentLogger } from "../log.ts";
import { startTlsServer, type TlsServer } from "../testing/tls-server.ts";
import { createHttp2Server } from "./http2-server.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function aServer(options?: Parameters<typeof startTlsServer>[0]): Promise<TlsServer> {
  const server = await startTlsServer(options);
  cleanups.push(() => server.stop());
  return server;
}

async function get(url: string, ca: string): Promise<string> {
  const client = http2.connect(url, { ca });
  cleanups.push(() => client.destroy());
  await new Promise<void>((resolve, reject) => {
    client.once("connect", () => resolve());
    client.once("error", reject);
  });
  let text = "";
  for await (const chunk of client.request().setEncoding("utf8")) text += chunk;
  return text;
}

async function aSocket(port: number): Promise<net.Socket> {
  const socket = net.connect(port, "127.0.0.1");
  cleanups.push(() => socket.destroy());
  socket.on("error", () => socket.destroy());
  await once(socket, "connect");
  return socket;
}

describe("an HTTP/2 server with TLS", () => {
  it("serves clients that trust its CA", async () => {
    const { authority, url } = await aServer();
    expect(await get(url, authority.caPem)).toBe("hello");
  });

  it("is not trusted under a name that its certificate lacks, or by another CA", async () => {
    const [named, other] = [await aServer({ names: ["elsewhere"] }), await aServer()];
    await expect(get(named.url, named.authority.caPem)).rejects.toThrow(/altnames|IP: 127.0.0.1/);
    await expect(get(other.url, named.authority.caPem)).rejects.toThrow(/certificate/);
  });

  it("speaks no TLS below 1.2 and nothing but h2", async () => {
    const { authority, server } = await aServer();
    const dial = (options: tls.ConnectionOptions) =>
      new Promise<string>((resolve) => {
        const port = server.port;
        const socket = tls.connect({ port, host: "127.0.0.1", ca: authority.caPem, ...options });
        socket.once("secureConnect", () => {
          socket.on("close", () => resolve(`closed after ${socket.alpnProtocol || "no ALPN"}`));
          socket.resume();
        });
        socket.once("error", (error) => resolve(error.message));
      });
    expect(
      await dial({ maxVersion: "TLSv1.1", minVersion: "TLSv1", ciphers: "ALL:@SECLEVEL=0" }),
    ).toMatch(/alert|protocol/i);
    expect(await dial({ ALPNProtocols: ["http/1.1"] })).toMatch(/alert|application protocol/i);
    expect(await dial({})).toBe("closed after no ALPN");
  });

  it("closes a client that never finishes its handshake", async () => {
    const { server } = await aServer({ handshakeLimitMs: 100 });
    const socket = await aSocket(server.port);
    socket.resume();
    await once(socket, "close");
  });

  it.each([
    ["cleartext HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["cleartext HTTP/1.1", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["garbage", "\u0016\u0003\u0001 garbage"],
  ])("closes a client that speaks %s, and goes on", async (_what, bytes) => {
    const { authority, server, url } = await aServer({ handshakeLimitMs: 500 });
    const socket = await aSocket(server.port);
    socket.resume();
    socket.write(bytes);
    await once(socket, "close");
    expect(await get(url, authority.caPem)).toBe("hello");
  });

  it("stops while a handshake is going on and a client is connected", async () => {
    const { authority, server, url } = await aServer();
    await get(url, authority.caPem);
    const socket = await aSocket(server.port);
    socket.resume();
    const closed = once(socket, "close");
    await server.stop();
    await closed;
  });
});

describe("its certificate", () => {
  it("is renewed when a third of its life is left, without closing the port", async () => {
    const { authority } = await aServer();
    const made: ServerCertificate[] = [];
    const server = createHttp2Server({
      name: "test",
      address: { host: "127.0.0.1", port: 0, setting: "BERTH_AGENT_PORT" },
      logger: silentLogger,
      handler: (_request, response) => response.end("hello"),
      tls: {
        checkIntervalMs: 20,
        async certificate() {
          const issued = await authority.issue(["127.0.0.1"]);
          made.push({ ...issued, notAfter: new Date(Date.now() + (made.length === 0 ? 60 : 1e9)) });
          return made.at(-1) ?? issued;
        },
      },
    });
    await server.start();
    cleanups.push(() => server.stop());
    await expect.poll(() => made.length, { timeout: 5_000 }).toBe(2);
    const presented = async () => {
      const socket = tls.connect({
        ...{ port: server.port, host: "127.0.0.1", ca: authority.caPem, ALPNProtocols: ["h2"] },
      });
      await once(socket, "secureConnect");
      const pem = socket.getPeerX509Certificate()?.toString() ?? "none";
      socket.destroy();
      return pem;
    };
    await expect.poll(async () => made[1]?.cert.startsWith((await presented()).trim())).toBe(true);
    expect(made).toHaveLength(2);
  });

  it("stops the start when none can be had", async () => {
    const server = createHttp2Server({
      name: "test",
      address: { host: "127.0.0.1", port: 0, setting: "BERTH_AGENT_PORT" },
      logger: silentLogger,
      handler: (_request, response) => response.end(),
      tls: { certificate: () => Promise.reject(new Error("no CA")) },
    });
    await expect(server.start()).rejects.toThrow("no CA");
    await server.stop();
  });
});
