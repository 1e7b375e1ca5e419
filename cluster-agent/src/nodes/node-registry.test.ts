import { Quality } from "@berth/proto";
import { describe, expect, it } from "vitest";
import { fingerprint, gpuSample, hostSample, registerRequest } from "../testing/fixtures.ts";
import { registered, registering, testRegistry } from "../testing/registry.ts";
import { checkFingerprint } from "./check-fingerprint.ts";

const withGpus = (...gpus: string[]) => registerRequest({ fingerprint: fingerprint({ gpus }) });

describe("NodeRegistry", () => {
  it("shows a registered node as live, and as lost after the TTL of silence", async () => {
    const { nodes, clock } = await testRegistry();
    await registered(nodes, registerRequest());
    expect(nodes.view("node-a")?.liveness).toBe("live");
    clock.advance(15_000);
    expect(nodes.view("node-a")?.liveness).toBe("live");
    clock.advance(1);
    expect(nodes.view("node-a")?.liveness).toBe("telemetry_lost");
  });

  it("raises the versions when a sweep finds a node silent, once", async () => {
    const { nodes, clock } = await testRegistry();
    await registered(nodes, registerRequest());
    clock.advance(15_001);
    const before = { version: nodes.version, structure: nodes.structureVersion };
    nodes.sweep();
    nodes.sweep();
    expect(nodes.version).toBe(before.version + 1);
    expect(nodes.structureVersion).toBe(before.structure + 1);
  });

  it("calls a silent node lost although it is kept from listening again and again", async () => {
    const { nodes, clock } = await testRegistry();
    await registered(nodes, registerRequest());
    let stalledMs = 0;
    for (let heldUp = 0; heldUp < 4; heldUp += 1) {
      clock.advance(3_700);
      nodes.sweep();
      expect(nodes.view("node-a")?.liveness).toBe("live");
      clock.advance(1_300);
      stalledMs += 1_300;
      nodes.sweep(1_300);
    }
    clock.advance(15_000 + stalledMs - 20_000);
    expect(nodes.view("node-a")?.liveness).toBe("live");
    clock.advance(1);
    expect(nodes.view("node-a")?.liveness).toBe("telemetry_lost");
  });

  it("counts the whole silence of a node that was heard at the end of a stall", async () => {
    const { nodes, clock } = await testRegistry();
    const registration = await registered(nodes, registerRequest());
    clock.advance(60_000);
    // What waited to be read comes before the sweep.
    await nodes.report(registration, { host: hostSample(), gpus: [] });
    clock.advance(100);
    nodes.sweep(60_100);
    clock.advance(15_000);
    expect(nodes.view("node-a")?.liveness).toBe("live");
    clock.advance(1);
    expect(nodes.view("node-a")?.liveness).toBe("telemetry_lost");
  });

  it("does not excuse what was silent for too long before", async () => {
    const { nodes, clock } = await testRegistry();
    await registered(nodes, registerRequest());
    clock.advance(15_001);
    nodes.sweep();
    clock.advance(22_000);
    nodes.sweep(22_000);
    expect(nodes.view("node-a")?.liveness).toBe("telemetry_lost");
  });

  it("makes a lost node live again when it reports", async () => {
    const { nodes, clock } = await testRegistry();
    const registration = await registered(nodes, registerRequest());
    clock.advance(20_000);
    await nodes.report(registration, { host: hostSample(), gpus: [] });
    expect(nodes.view("node-a")).toMatchObject({ liveness: "live", ageMs: 10 });
  });

  it("ends the older registration and ignores what it still reports", async () => {
    const { nodes } = await testRegistry();
    const older = await registered(nodes, registerRequest());
    const newer = await registered(nodes, registerRequest({ nodeIncarnation: 2n }));
    expect(older.ended.aborted).toBe(true);
    expect(newer.ended.aborted).toBe(false);
    expect(nodes.registration(older.id)).toBeUndefined();
    await nodes.report(older, { host: hostSample(), gpus: [] });
    expect(nodes.view("node-a")?.host).toBeUndefined();
  });

  it("refuses one of two machines that ask for one id at the same time", async () => {
    const { nodes } = await testRegistry();
    const other = registerRequest({ fingerprint: fingerprint({ machineId: "machine-b" }) });
    const outcomes = await Promise.all([
      registering(nodes, registerRequest()),
      registering(nodes, other),
    ]);
    expect(outcomes.map((outcome) => outcome.kind)).toEqual(["registered", "refused"]);
  });

  it("ages samples and calls them stale after three intervals", async () => {
    const { nodes, clock } = await testRegistry();
    const registration = await registered(nodes, withGpus("GPU-1"));
    await nodes.report(registration, { host: hostSample(), gpus: [gpuSample("GPU-1")] });
    clock.advance(3_001);
    const view = nodes.view("node-a");
    expect(view?.gpus.get("GPU-1")).toMatchObject({ ageMs: 3_006, quality: "stale" });
    expect(view?.host).toMatchObject({ ageMs: 3_011, quality: "measured" });
  });

  it("drops samples of GPUs that the fingerprint does not list", async () => {
    const { nodes } = await testRegistry();
    const registration = await registered(nodes, withGpus("GPU-1"));
    await nodes.report(registration, { gpus: [gpuSample("GPU-2"), gpuSample("GPU-1")] });
    expect([...(nodes.view("node-a")?.gpus.keys() ?? [])]).toEqual(["GPU-1"]);
  });

  it("keeps slots over a changed fingerprint and forgets samples of a GPU that is gone", async () => {
    const { nodes } = await testRegistry();
    const registration = await registered(nodes, withGpus("GPU-1", "GPU-2"));
    await nodes.report(registration, { gpus: [gpuSample("GPU-1"), gpuSample("GPU-2")] });
    const changed = checkFingerprint(fingerprint({ gpus: ["GPU-3", "GPU-2"] }));
    await nodes.report(registration, { fingerprint: changed, gpus: [] });
    const view = nodes.view("node-a");
    expect(view?.slots.map((slot) => slot.uuid)).toEqual(["GPU-1", "GPU-2", "GPU-3"]);
    expect([...(view?.gpus.keys() ?? [])]).toEqual(["GPU-2"]);
  });

  it("refuses a changed fingerprint of another machine", async () => {
    const { nodes } = await testRegistry();
    const registration = await registered(nodes, registerRequest());
    const foreign = checkFingerprint(fingerprint({ machineId: "machine-b" }));
    await expect(nodes.report(registration, { fingerprint: foreign, gpus: [] })).rejects.toThrow(
      "fingerprint.identity.machine_id",
    );
  });

  it("raises the structure version when a GPU becomes unavailable, not at each sample", async () => {
    const { nodes } = await testRegistry();
    const registration = await registered(nodes, withGpus("GPU-1"));
    await nodes.report(registration, { gpus: [gpuSample("GPU-1")] });
    const before = nodes.structureVersion;
    await nodes.report(registration, { gpus: [gpuSample("GPU-1", { utilizationPercent: 80 })] });
    expect(nodes.structureVersion).toBe(before);
    const gone = gpuSample("GPU-1", { quality: Quality.UNAVAILABLE });
    await nodes.report(registration, { gpus: [gone] });
    expect(nodes.structureVersion).toBe(before + 1);
  });

  it("knows nodes of the store as unknown for one TTL, then as lost, with their slots", async () => {
    const { nodes, store } = await testRegistry();
    await registered(nodes, withGpus("GPU-1", "GPU-2"));
    const { nodes: again, clock } = await testRegistry(store);
    const view = again.view("node-a");
    expect(view?.liveness).toBe("unknown");
    expect(view?.slots.map((slot) => slot.uuid)).toEqual(["GPU-1", "GPU-2"]);
    clock.advance(15_001);
    expect(again.view("node-a")?.liveness).toBe("telemetry_lost");
    await registered(again, withGpus("GPU-2", "GPU-1"));
    expect(again.view("node-a")?.liveness).toBe("live");
    expect(again.view("node-a")?.slots.map((slot) => slot.uuid)).toEqual(["GPU-1", "GPU-2"]);
  });
});

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
