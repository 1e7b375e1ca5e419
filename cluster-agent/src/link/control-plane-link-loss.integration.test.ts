import { createServer } from "node:net";
import { startHalfOpenProxy } from "@berth/service-kit/testing";
import { afterEach, describe, expect, it } from "vitest";
import { Cleanup, startAgent } from "../testing/agent.ts";
import { FakeControlPlane, LINK_TOKEN } from "../testing/fake-control-plane.ts";
import { until } from "../testing/fixtures.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

async function controlPlane() {
  const plane = new FakeControlPlane({ storeId: "store-1", term: 1n, snapshotWanted: true });
  await plane.start(cleanup);
  return plane;
}

const linked = (controlPlaneUrl: string) =>
  startAgent(cleanup, { controlPlaneUrl, enrolmentToken: LINK_TOKEN });

describe("ControlPlaneLink without an answer", () => {
  it.each(["to server", "to client", "both"] as const)(
    "is found half-open within 10 s by both ends when it is silent %s, and comes back",
    async (direction) => {
      const plane = await controlPlane();
      const proxy = await startHalfOpenProxy(cleanup, Number(new URL(plane.url).port));
      const agent = await linked(`http://127.0.0.1:${proxy.port}`);
      await until("the link is up", () => plane.commandSessions.length === 1);
      proxy.cut(direction);
      const silentAtMs = performance.now();
      await until("the agent has found it", () => agent.link().state === "down", 15_000);
      const agentMs = performance.now() - silentAtMs;
      await until("it has registered again", () => plane.registers.length === 2, 20_000);
      await until(
        "the server has found it",
        () => plane.commandSessions.join() === "session-2",
        15_000,
      );
      expect(Math.max(agentMs, performance.now() - silentAtMs)).toBeLessThan(10_000);
    },
  );

  it("stops within 2 s, linked, waiting, and while a control-plane never answers", async () => {
    const plane = await controlPlane();
    const mute = createServer(() => undefined);
    await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
    cleanup.add(() => mute.close());
    const { port } = mute.address() as { port: number };
    for (const controlPlaneUrl of [plane.url, "http://127.0.0.1:9", `http://127.0.0.1:${port}`]) {
      const agent = await linked(controlPlaneUrl);
      if (controlPlaneUrl === plane.url) {
        await until("the link is up", () => agent.link().state === "up");
      }
      const begun = performance.now();
      await agent.stop();
      expect(performance.now() - begun).toBeLessThan(2_000);
    }
  });
});
