import { describe, expect, it } from "vitest";
import {
  fingerprint,
  gpuSample,
  healthReport,
  hostSample,
  registerRequest,
} from "../testing/fixtures.ts";
import { registered, registering, testRegistry } from "../testing/registry.ts";

describe("NodeRegistry and duplicates", () => {
  const original = registerRequest({ nodeIncarnation: 5n });
  const copy = registerRequest({
    nodeIncarnation: 6n,
    agentInstanceId: "instance-b",
    fingerprint: fingerprint({ bootId: "boot-2" }),
  });

  /** The copy takes over, and the original comes back. */
  async function twoAgents() {
    const opened = await testRegistry();
    const { nodes, clock } = opened;
    await registered(nodes, original);
    clock.advance(1_000);
    const held = await registered(nodes, copy);
    clock.advance(11_000);
    await nodes.report(held, { host: hostSample(), gpus: [] });
    return { ...opened, held, outcome: await registering(nodes, original) };
  }

  it("refuses both of two agents of one node and places nothing there", async () => {
    const { nodes, held, outcome, events } = await twoAgents();
    expect(outcome).toMatchObject({ kind: "refused", reason: "ALREADY_EXISTS" });
    expect(held.ended.reason).toMatchObject({ reason: "CONFLICT" });
    expect(nodes.registration(held.id)).toBeUndefined();
    expect(await registering(nodes, copy)).toMatchObject({ reason: "ALREADY_EXISTS" });
    expect(nodes.view("node-a")?.liveness).toBe("telemetry_lost");
    expect(nodes.duplicates("node-a")).toMatchObject({
      state: "duplicate",
      candidates: [
        { instanceId: "instance-b", bootId: "boot-2", incarnation: 6, verdict: "undecided" },
        { instanceId: "instance-a", bootId: "boot-1", incarnation: 5, verdict: "undecided" },
      ],
    });
    expect(events.filter((event) => event.kind === "node_duplicate")).toHaveLength(1);
  });

  it("ignores what a refused agent still reports", async () => {
    const { nodes, held, clock } = await twoAgents();
    clock.advance(1_000);
    await nodes.report(held, { host: hostSample(), gpus: [] });
    expect(nodes.view("node-a")?.liveness).toBe("telemetry_lost");
  });

  it("lets the picked one in and keeps the other out, over a restart of the cluster-agent", async () => {
    const { nodes, store, events } = await twoAgents();
    await nodes.pick("node-a", { bootId: "boot-1" });
    expect(await registering(nodes, copy)).toMatchObject({ reason: "ALREADY_EXISTS" });
    await registered(nodes, original);
    expect(nodes.view("node-a")?.liveness).toBe("live");
    expect(events.at(-1)).toMatchObject({ kind: "node_back", key: "node/node-a" });
    const { nodes: again } = await testRegistry(store);
    expect(await registering(again, copy)).toMatchObject({ reason: "ALREADY_EXISTS" });
    await registered(again, original);
    expect(again.duplicates("node-a")).toMatchObject({
      state: "picked",
      candidates: [{ verdict: "refused" }, { verdict: "picked" }],
    });
  });

  it("says why nothing is placed there, before and after the pick, in documents too", async () => {
    const { nodes } = await twoAgents();
    const reason = () => nodes.view("node-a")?.reason;
    expect(reason()).toBe("telemetry lost: two agents run as this node");
    const before = { structure: nodes.structureVersion, node: nodes.view("node-a")?.version ?? 0 };
    await nodes.pick("node-a", { bootId: "boot-1" });
    expect(reason()).toBe("telemetry lost: silent for more than 15 s");
    expect(nodes.structureVersion).toBeGreaterThan(before.structure);
    expect(nodes.view("node-a")?.version).toBeGreaterThan(before.node);
  });

  it("forgets the GPUs' health of the boot that was not picked, and tells none of its own reboot", async () => {
    const { nodes, clock, events } = await testRegistry();
    const withGpu = (bootId: string) => fingerprint({ bootId, gpus: ["GPU-1"] });
    const own = registerRequest({ nodeIncarnation: 5n, fingerprint: withGpu("boot-1") });
    const other = registerRequest({ ...copy, fingerprint: withGpu("boot-2") });
    await registered(nodes, own);
    clock.advance(1_000);
    const held = await registered(nodes, other);
    clock.advance(11_000);
    await nodes.report(held, { gpus: [gpuSample("GPU-1")], health: healthReport({}) });
    await registering(nodes, own);
    await nodes.pick("node-a", { bootId: "boot-1" });
    const picked = await registered(nodes, own);
    expect(nodes.view("node-a")?.gpus.size).toBe(0);
    await nodes.report(picked, { gpus: [gpuSample("GPU-1")], health: healthReport() });
    expect(nodes.view("node-a")?.verdicts).toMatchObject([{ state: "free", facts: [] }]);
    clock.advance(10_000);
    nodes.sweep();
    const kinds = events.map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === "gpu_recovered")).toHaveLength(1);
    // The second machine seemed to be the first one's next boot, before both were heard.
    expect(kinds.filter((kind) => kind === "node_rebooted")).toHaveLength(1);
  });

  it("keeps both out over a restart of the cluster-agent, until one is picked", async () => {
    const { store } = await twoAgents();
    const { nodes: again } = await testRegistry(store);
    expect(again.view("node-a")?.liveness).toBe("telemetry_lost");
    for (const request of [original, copy]) {
      expect(await registering(again, request)).toMatchObject({ reason: "ALREADY_EXISTS" });
    }
    await again.pick("node-a", { instanceId: "instance-b" });
    await registered(again, copy);
  });

  it("ends the registration of an agent that an operator decides against", async () => {
    const { nodes } = await twoAgents();
    await nodes.pick("node-a", { bootId: "boot-1" });
    const first = await registered(nodes, original);
    await nodes.pick("node-a", { bootId: "boot-2" });
    expect(first.ended.aborted).toBe(true);
    expect(nodes.view("node-a")?.liveness).not.toBe("live");
    expect(await registering(nodes, original)).toMatchObject({ reason: "ALREADY_EXISTS" });
    await registered(nodes, copy);
  });

  it("never replaces an agent whose stream is open, and refuses both once both were heard for 10 s", async () => {
    const { nodes, clock, events } = await testRegistry();
    const held = await registered(nodes, original);
    nodes.streamOpened(held);
    for (const seconds of [1, 4, 5]) {
      clock.advance(seconds * 1_000);
      await nodes.report(held, { host: hostSample(), gpus: [] });
      expect(await registering(nodes, copy)).toMatchObject({ reason: "UNAVAILABLE" });
      expect(held.ended.aborted).toBe(false);
    }
    clock.advance(5_001);
    await nodes.report(held, { host: hostSample(), gpus: [] });
    expect(nodes.view("node-a")?.liveness).toBe("live");
    clock.advance(1_000);
    expect(await registering(nodes, copy)).toMatchObject({ reason: "ALREADY_EXISTS" });
    expect(held.ended.aborted).toBe(true);
    expect(await registering(nodes, original)).toMatchObject({ reason: "ALREADY_EXISTS" });
    expect(events.filter((event) => event.kind === "node_duplicate")).toHaveLength(1);
  });

  it("takes a later start at once when the streams of the one before it have ended", async () => {
    const { nodes } = await testRegistry();
    const held = await registered(nodes, original);
    const closings = [nodes.streamOpened(held), nodes.streamOpened(held)];
    closings[0]?.();
    closings[0]?.();
    expect(await registering(nodes, copy)).toMatchObject({ reason: "UNAVAILABLE" });
    closings[1]?.();
    await registered(nodes, copy);
  });

  it("lets the process that holds the node register again beside its own open stream", async () => {
    const { nodes } = await testRegistry();
    const before = await registered(nodes, original);
    const close = nodes.streamOpened(before);
    const after = await registered(nodes, original);
    // The stream of a registration that has ended counts for nobody.
    nodes.streamOpened(before);
    await registered(nodes, copy);
    close();
    expect(after.ended.aborted).toBe(true);
  });

  it("asks an agent on a new state directory to wait until the one before it is silent", async () => {
    const { nodes, clock } = await testRegistry();
    await registered(nodes, original);
    const fresh = registerRequest({ agentInstanceId: "instance-f", nodeIncarnation: 1n });
    expect(await registering(nodes, fresh)).toMatchObject({ reason: "UNAVAILABLE" });
    clock.advance(10_001);
    await registered(nodes, fresh);
  });

  it("keeps the pick over a reboot of both, whoever comes first, and over its own restarts", async () => {
    const { nodes, clock, store } = await twoAgents();
    await nodes.pick("node-a", { instanceId: "instance-a" });
    const start = (agentInstanceId: string, bootId: string, formerInstanceIds: string[]) =>
      registerRequest({
        ...{ agentInstanceId, formerInstanceIds, nodeIncarnation: 7n },
        fingerprint: fingerprint({ bootId }),
      });
    const copyAgain = start("instance-d", "boot-4", ["instance-a", "instance-b"]);
    const originalAgain = start("instance-c", "boot-3", ["instance-a"]);
    clock.advance(60_000);
    expect(await registering(nodes, copyAgain)).toMatchObject({ reason: "ALREADY_EXISTS" });
    await registered(nodes, originalAgain);
    const { nodes: again, clock: later } = await testRegistry(store);
    later.advance(60_000);
    const copyLater = start("instance-f", "boot-6", ["instance-d"]);
    expect(await registering(again, copyLater)).toMatchObject({ reason: "ALREADY_EXISTS" });
    await registered(again, start("instance-e", "boot-5", ["instance-c"]));
    // A state directory that nobody knows may be the refused one's: an operator picks anew.
    later.advance(60_000);
    const stranger = start("instance-g", "boot-7", []);
    expect(await registering(again, stranger)).toMatchObject({ reason: "ALREADY_EXISTS" });
    expect(again.duplicates("node-a")).toMatchObject({ state: "duplicate" });
  });

  it("has nothing to show of unknown nodes, and no pick for them", async () => {
    const { nodes } = await testRegistry();
    expect(nodes.duplicates("nobody")).toBeUndefined();
    await expect(nodes.pick("nobody", { bootId: "b" })).rejects.toThrow('no node "nobody"');
    await registered(nodes, original);
    expect(nodes.duplicates("node-a")).toEqual({ state: "clear", candidates: [] });
    await expect(nodes.pick("node-a", { bootId: "b" })).rejects.toThrow("no duplicates");
  });
});
