import http2 from "node:http2";
import { BerthError, toBerthError } from "@berth/service-kit";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import { Cleanup, startAgent } from "../testing/agent.ts";
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

  it("rejects with what was said when the other end cannot be trusted", async () => {
    const message = "BERTH_CA_FILE: expected a certificate";
    const serverCa = () => Promise.reject(new BerthError("PRECONDITION_FAILED", message));
    const connection = new LinkConnection("https://127.0.0.1:9", { ...PINGS, serverCa });
    const thrown = await connection.request("POST", "/", {}, {}).catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(ConnectError);
    expect(toBerthError(thrown)).toMatchObject({ reason: "PRECONDITION_FAILED", message });
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

  it("shows an agent that cannot trust its control-plane why, once and by its reason", async () => {
    const agent = await startAgent(cleanup, { controlPlaneUrl: "https://127.0.0.1:9" });
    await until("it was tried", () => agent.link().lastError !== undefined);
    const { lastError } = agent.link();
    expect(lastError).toMatch(/^PRECONDITION_FAILED: /);
    expect(lastError).not.toContain("[");
  });
});
