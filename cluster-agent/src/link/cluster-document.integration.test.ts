import { startDelayProxy } from "@berth/service-kit/testing";
import { afterEach, describe, expect, it } from "vitest";
import { Cleanup, startAgent } from "../testing/agent.ts";
import { FakeControlPlane, LINK_TOKEN } from "../testing/fake-control-plane.ts";
import { fingerprint, registerRequest, until } from "../testing/fixtures.ts";
import { registered } from "../testing/registry.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

async function linked({ delayMs = 0 } = {}) {
  const plane = new FakeControlPlane({ storeId: "store-1", term: 1n, snapshotWanted: true });
  await plane.start(cleanup);
  const targetPort = Number(new URL(plane.url).port);
  const port = delayMs === 0 ? targetPort : await startDelayProxy(cleanup, { targetPort, delayMs });
  const agent = await startAgent(cleanup, {
    controlPlaneUrl: `http://127.0.0.1:${port}`,
    enrolmentToken: LINK_TOKEN,
    // No verdict changes while many nodes join: the document only grows.
    nodeTtlMs: 600_000,
  });
  await until("the link is up", () => plane.newest("cluster") !== undefined);
  return { plane, agent };
}

/** A node whose entry in the cluster document takes some 34 KB. */
function largeNode(n: number) {
  const print = fingerprint({
    machineId: `machine-${n}`,
    gpus: Array.from({ length: 64 }, (_none, gpu) => `GPU-${n}-${gpu}`),
  });
  for (const [index, gpu] of print.gpus.entries()) {
    gpu.modelName = `model ${index} `.padEnd(250, "x");
  }
  return registerRequest({ nodeId: `node-${n}`, fingerprint: print });
}

describe("the cluster document on the link", () => {
  it("carries numbers as they were written", async () => {
    const { plane, agent } = await linked();
    const answer = await agent.http.inject({
      method: "PATCH",
      url: "/cluster-actions/update-cluster",
      payload: '{"clusterMetadata":{"big":12345678901234567890,"ratio":1.50}}',
      headers: { host: "localhost", "content-type": "application/json" },
    });
    expect(answer.statusCode).toBe(200);
    const texts = () => plane.states.flatMap(({ entries }) => entries.map(({ json }) => json));
    await until("the change came", () => {
      return texts().at(-1)?.includes('{"big":12345678901234567890,"ratio":1.50}') ?? false;
    });
  });

  it("of 4 MB comes within seconds at 100 ms each way, as it is compressed", {
    timeout: 30_000,
  }, async () => {
    const { plane, agent } = await linked({ delayMs: 100 });
    const nodes = Array.from({ length: 130 }, (_none, n) => largeNode(n));
    await Promise.all(nodes.map((node) => registered(agent.nodes, node)));
    expect(JSON.stringify(agent.cluster.document()).length).toBeGreaterThan(4 * 1024 * 1024);
    const count = () => (plane.newest("cluster") as { nodes: { count: number } }).nodes.count;
    await until("the whole document is there", () => count() === 130, 8_000);
    expect(plane.registers).toHaveLength(1);
  });

  it("stays the last one that fitted into a message, and the link holds", {
    timeout: 60_000,
  }, async () => {
    const { plane, agent } = await linked();
    const nodes = Array.from({ length: 500 }, (_none, n) => largeNode(n));
    await Promise.all(nodes.map((node) => registered(agent.nodes, node)));
    expect(JSON.stringify(agent.cluster.document()).length).toBeGreaterThan(15 * 1024 * 1024);
    const events = () => plane.events.filter(({ kind }) => kind === "cluster_document_too_large");
    await until("it is told", () => events().length > 0, 20_000);
    expect(JSON.parse(events()[0]?.json ?? "")).toEqual({
      sizeBytes: expect.any(Number),
      limitBytes: 15 * 1024 * 1024,
    });
    const reports = plane.reports.length;
    await until("telemetry goes on", () => plane.reports.length > reports + 3, 20_000);
    expect(plane.registers).toHaveLength(1);
    expect(agent.link().state).toBe("up");
    expect(events()).toHaveLength(1);
    const { nodes: told } = plane.newest("cluster") as { nodes: { count: number } };
    expect(told.count).toBeLessThan(500);
    expect(agent.cluster.document().nodes.count).toBe(500);
  });
});
