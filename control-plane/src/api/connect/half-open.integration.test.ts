import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CutDirection, startHalfOpenProxy } from "@berth/service-kit/testing";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { entry, TestAgent } from "../../testing/agents.ts";
import { LinkServer, ORG } from "../../testing/link-server.ts";

const FOUND_WITHIN_MS = 10_000;

let directory: string;
let server: LinkServer;
const ends: (() => unknown)[] = [];
const cleanup = { add: (task: () => unknown) => ends.push(task) };

beforeAll(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-half-open-"));
  server = new LinkServer(directory);
  await server.start();
});
afterAll(async () => {
  for (const end of ends.reverse()) await end();
  await server.stop();
  rmSync(directory, { recursive: true });
});

const isConnected = (clusterId: string) =>
  server.sessions.status(ORG).some((agent) => agent.clusterId === clusterId && agent.connected);

describe("a cluster-agent's link that goes silent while its sockets stay open", () => {
  it.concurrent.each<[CutDirection, string]>([
    ["to server", "a"],
    ["to client", "b"],
    ["both", "c"],
  ])(
    "shows the agent as not connected within 10 s when it is cut %s",
    async (direction, clusterId) => {
      const proxy = await startHalfOpenProxy(cleanup, Number(new URL(server.url).port));
      const agent = new TestAgent(`http://127.0.0.1:${proxy.port}`, clusterId);
      cleanup.add(() => agent.close());
      const { sessionId } = await agent.join();
      agent.report(sessionId).send([entry("metrics", 1, {})]);
      // Nobody reads it any more when it breaks.
      const orders = agent.commands(sessionId).next();
      orders.catch(() => undefined);
      expect(isConnected(clusterId)).toBe(true);
      proxy.cut(direction);
      const cutAtMs = performance.now();
      await vi.waitFor(() => expect(isConnected(clusterId)).toBe(false), {
        timeout: FOUND_WITHIN_MS,
        interval: 50,
      });
      expect(performance.now() - cutAtMs).toBeGreaterThan(1_000);
      await vi.waitFor(() => expect(proxy.openToServer()).toBe(0));
      agent.close();
    },
    20_000,
  );
});
