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
