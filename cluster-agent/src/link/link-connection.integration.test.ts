import http2 from "node:http2";
import { Code } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import { Cleanup } from "../testing/agent.ts";
import { until } from "../testing/fixtures.ts";
import { LinkConnection } from "./link-connection.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const PINGS = { pingIntervalMs: 10, pingTimeoutMs: 5_000 };

/** An HTTP/2 server that leaves streams open and counts the pings that it answers. */
async function openServer() {
  const server = http2.createServer();
  const seen = { pings: 0, sessions: 0 };
  server.on("session", (session) => {
    seen.sessions += 1;
    session.on("ping", () => {
      seen.pings += 1;
    });
    session.on("error", () => session.destroy());
    cleanup.add(() => session.destroy());
  });
  server.on("stream", (stream) => stream.on("error", () => stream.destroy()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanup.add(() => server.close());
  const { port } = server.address() as { port: number };
  return { url: `http://127.0.0.1:${port}`, seen };
}

describe("LinkConnection", () => {
  it("dials once, pings, and closes its streams without a ping afterwards", async () => {
    const { url, seen } = await openServer();
    const connection = new LinkConnection(url, PINGS);
    const streams = await Promise.all(
      ["/a", "/b"].map((path) => connection.request("POST", path, {}, { endStream: false })),
    );
    const errors = streams.map((stream) => new Promise((resolve) => stream.once("close", resolve)));
    for (const stream of streams) stream.on("error", () => stream.destroy());
    await until("pings were answered", () => seen.pings >= 3);
    connection.close();
    connection.close();
    await Promise.all(errors);
    const before = seen.pings;
    const { url: other, seen: later } = await openServer();
    const second = new LinkConnection(other, PINGS);
    cleanup.add(() => second.close());
    const stream = await second.request("POST", "/", {}, { endStream: false });
    stream.on("error", () => stream.destroy());
    // Ten intervals of another connection: time enough for a forgotten timer of the first to throw.
    await until("the second was pinged", () => later.pings >= 10);
    expect(seen.sessions).toBe(1);
    expect(seen.pings).toBeLessThanOrEqual(before + 1);
  });

  it("rejects with UNAVAILABLE when nobody listens, and when it was closed", async () => {
    const connection = new LinkConnection("http://127.0.0.1:9", PINGS);
    await expect(connection.request("POST", "/", {}, {})).rejects.toMatchObject({
      code: Code.Unavailable,
    });
    const closed = new LinkConnection("http://127.0.0.1:9", PINGS);
    closed.close();
    await expect(closed.request("POST", "/", {}, {})).rejects.toMatchObject({
      code: Code.Unavailable,
    });
  });
});
