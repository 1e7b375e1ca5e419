import { describe, expect, it } from "vitest";
import { nodeEntry } from "../telemetry/node-entry.ts";
import { fingerprint, registerRequest } from "../testing/fixtures.ts";
import { registered, registering, testRegistry } from "../testing/registry.ts";

const drain = { kind: "drain", operationId: "op" } as const;
const retire = { kind: "retire", operationId: "op" } as const;

/** A registry with node-a, which has joined. */
async function joined() {
  const registry = await testRegistry();
  await registered(registry.nodes, registerRequest());
  return registry;
}

describe("NodeRoster", () => {
  it("keeps where nodes stand over restarts", async () => {
    const { nodes, store } = await joined();
    await nodes.roster.step("node-a", { kind: "cordon" });
    await nodes.roster.step("node-x", { kind: "onboard", entryJson: '{"id":"node-x"}' });
    const { nodes: again } = await testRegistry(store);
    expect(again.roster.get("node-a")?.state).toBe("cordoned");
    expect(again.roster.get("node-x")?.state).toBe("expected");
    expect(again.view("node-a")?.lifecycle).toBe("cordoned");
    expect(again.view("node-x")).toBeUndefined();
  });

  it("takes nodes of older versions as ready, and an expected one that had joined too", async () => {
    const { nodes, store } = await joined();
    await nodes.roster.forget("node-a");
    const { nodes: older } = await testRegistry(store);
    expect(older.roster.get("node-a")?.state).toBe("ready");
    await older.roster.forget("node-a");
    await older.roster.step("node-a", { kind: "onboard", entryJson: '{"id":"node-a"}' });
    const { nodes: cutOff } = await testRegistry(store);
    expect(cutOff.roster.get("node-a")?.state).toBe("ready");
  });

  it("lets a removed node in again only after it was onboarded, over restarts", async () => {
    const { nodes, store } = await joined();
    await nodes.roster.step("node-a", drain);
    await nodes.roster.step("node-a", retire);
    await nodes.remove("node-a", { force: true, forgetKey: async () => true });
    expect(nodes.views()).toEqual([]);
    const refused = { kind: "refused", reason: "PRECONDITION_FAILED" };
    expect(await registering(nodes, registerRequest())).toMatchObject(refused);
    const { nodes: again } = await testRegistry(store);
    expect(await registering(again, registerRequest())).toMatchObject({
      ...refused,
      message: expect.stringContaining("/cluster-actions/add-node"),
    });
    await again.roster.step("node-a", { kind: "onboard", entryJson: '{"id":"node-a"}' });
    await registered(again, registerRequest());
    expect(again.view("node-a")?.lifecycle).toBe("ready");
  });

  it("forgets a node that was deleted, so that it may join again", async () => {
    const { nodes } = await joined();
    await nodes.roster.step("node-a", { kind: "cordon" });
    await nodes.remove("node-a", { force: true, forgetKey: async () => true });
    expect(nodes.roster.get("node-a")).toBeUndefined();
    await registered(nodes, registerRequest());
    expect(nodes.view("node-a")?.lifecycle).toBe("ready");
  });

  it("tells each change once, and raises the document's version", async () => {
    const { nodes, events } = await joined();
    const before = nodes.structureVersion;
    for (const kind of ["cordon", "cordon", "uncordon"] as const) {
      await nodes.roster.step("node-a", { kind });
    }
    await nodes.roster.step("node-x", { kind: "onboard", entryJson: '{"id":"node-x"}' });
    await nodes.roster.step("node-a", drain);
    const kinds = events.map(({ kind }) => kind);
    expect(kinds.slice(1)).toEqual([
      ...["node_cordoned", "node_uncordoned", "node_expected", "node_draining"],
    ]);
    expect(nodes.structureVersion).toBe(before + 4);
  });

  it("shows the GPUs of a cordoned node as cordoned, and none of them as free", async () => {
    const { nodes } = await testRegistry();
    await registered(nodes, registerRequest({ fingerprint: fingerprint({ gpus: ["G1"] }) }));
    const entries = () => nodes.views().map(nodeEntry);
    expect(entries()).toMatchObject([{ free_gpus: 1, gpus: { gpus: [{ state: "free" }] } }]);
    await nodes.roster.step("node-a", { kind: "cordon" });
    expect(entries()).toMatchObject([{ free_gpus: 0, gpus: { gpus: [{ state: "cordoned" }] } }]);
  });
});
