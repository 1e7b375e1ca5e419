import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import type { FastifyInstance } from "fastify";
import { expect, it } from "vitest";
import { silentLogger } from "../log.ts";
import { loopbackAuthenticator } from "../principal.ts";
import { createHttpServer, listening } from "./server.ts";

it("listens on the address, answers, and stops while connections are open", async () => {
  const server = aServer();
  server.get("/slow", () => new Promise(() => {}));
  const part = listening(server, address(0), "http");
  await part.start();
  const port = portOf(server);
  const idle = await connected(port);
  const busy = await connected(port);
  busy.write("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const response = await fetch(`http://127.0.0.1:${port}/nope`);
  expect(response.status).toBe(404);
  const closed = Promise.all([once(idle, "close"), once(busy, "close")]);
  await part.stop();
  await closed;
});

it("names the setting when the port is taken", async () => {
  const first = aServer();
  await listening(first, address(0), "http").start();
  const port = portOf(first);
  const second = listening(aServer(), address(port), "http");
  await expect(second.start()).rejects.toThrow(
    `port ${port} on 127.0.0.1 is taken by another program; set BERTH_HTTP_PORT to another port`,
  );
  await second.stop();
  await first.close();
});

it("survives bytes that are not HTTP", async () => {
  const server = aServer();
  const part = listening(server, address(0), "http");
  await part.start();
  const socket = await connected(portOf(server));
  socket.end("\u0000\u0001 this is no request\r\n\r\n");
  socket.resume();
  await once(socket, "close");
  expect((await fetch(`http://127.0.0.1:${portOf(server)}/`)).status).toBe(404);
  await part.stop();
});

it.each([false, true])(
  "answers a request that offers another protocol (WebSockets served: %s)",
  async (hasWebSockets) => {
    const server = aServer();
    server.post("/echo", ({ body }) => body);
    if (hasWebSockets) server.server.on("upgrade", (_request, socket) => socket.destroy());
    const part = listening(server, address(0), "http");
    await part.start();
    const headers = {
      connection: "Upgrade, HTTP2-Settings",
      upgrade: "h2c",
      "http2-settings": "AAMAAABkAAQAAP__",
      "content-type": "application/json",
    };
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const url = `http://127.0.0.1:${portOf(server)}/echo`;
    const request = http.request(url, { method: "POST", headers }, async (response) => {
      resolve(`${response.statusCode} ${(await response.toArray()).join("")}`);
    });
    request.on("error", reject);
    request.end('{"a":1}');
    expect(await promise).toBe('200 {"a":1}');
    await part.stop();
  },
);

function aServer(): FastifyInstance {
  return createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator("org-a"),
    logger: silentLogger,
  });
}

function address(port: number) {
  return { host: "127.0.0.1", port, setting: "BERTH_HTTP_PORT" };
}

function portOf(server: FastifyInstance): number {
  return (server.server.address() as net.AddressInfo).port;
}

async function connected(port: number): Promise<net.Socket> {
  const socket = net.connect(port, "127.0.0.1");
  socket.on("error", () => socket.destroy());
  await once(socket, "connect");
  return socket;
}
