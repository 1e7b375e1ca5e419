import { HealthClass, Quality } from "@berth/proto";
import { describe, expect, it } from "vitest";
import { fingerprint, gpuSample, healthReport, registerRequest } from "../testing/fixtures.ts";
import { registered, testRegistry } from "../testing/registry.ts";
import { checkFingerprint } from "./check-fingerprint.ts";
import type { NodeRegistry } from "./node-registry.ts";

const withGpus = (bootId = "boot-1") =>
  registerRequest({ fingerprint: fingerprint({ bootId, gpus: ["GPU-1", "GPU-2"] }) });
const later = { nodeIncarnation: 2n, agentInstanceId: "instance-b" };
const XID = "XID 79: GPU has fallen off the bus";

const states = (nodes: NodeRegistry) =>
  nodes.view("node-a")?.verdicts.map(({ state, reason }) => reason ?? state);
const kinds = (events: readonly { kind: string }[]) =>
  events.map(({ kind }) => kind).filter((kind) => !kind.startsWith("node_"));

async function broken() {
  const opened = await testRegistry();
  const registration = await registered(opened.nodes, withGpus());
  await opened.nodes.report(registration, { gpus: [], health: healthReport({}) });
  return { ...opened, registration };
}

describe("the health of a node's GPUs", () => {
  it("follows the newest health report, and stays while reports come without one", async () => {
    const { nodes, registration } = await broken();
    expect(states(nodes)).toEqual([XID, "free"]);
    await nodes.report(registration, { gpus: [gpuSample("GPU-1")] });
    expect(states(nodes)).toEqual([XID, "free"]);
    const other = healthReport({ factId: "boot-1/8", gpuUuid: "GPU-2" });
    await nodes.report(registration, { gpus: [], health: other });
    expect(states(nodes)).toEqual(["free", XID]);
  });

  it("makes facts older as time goes by", async () => {
    const { nodes, clock } = await broken();
    clock.advance(4_000);
    expect(nodes.view("node-a")?.verdicts[0]?.facts[0]?.ageMs).toBe(5_000);
  });

  it("changes the structure when a state or a reason changes, not with each report", async () => {
    const { nodes, registration } = await broken();
    const before = nodes.structureVersion;
    await nodes.report(registration, { gpus: [gpuSample("GPU-1")], health: healthReport({}) });
    expect(nodes.structureVersion).toBe(before);
    const mild = healthReport(
      {},
      { factId: "b/9", gpuUuid: "GPU-2", healthClass: HealthClass.INFO },
    );
    await nodes.report(registration, { gpus: [], health: mild });
    expect(nodes.structureVersion).toBe(before + 1);
    const failed = { factId: "b/10", kind: "row_remap_failed", code: 0 };
    await nodes.report(registration, { gpus: [], health: healthReport(failed) });
    expect(nodes.structureVersion).toBe(before + 2);
    expect(states(nodes)).toEqual(["row remap failed", "free"]);
  });

  it("is told in events, each once, with keys of GPUs and of facts", async () => {
    const { nodes, registration, events, clock } = await broken();
    await nodes.report(registration, { gpus: [], health: healthReport({}) });
    expect(events.slice(1)).toMatchObject([
      {
        kind: "gpu_unhealthy",
        key: "node/node-a/gpu/0",
        facts: { uuid: "GPU-1", reason: XID, facts: [{ fact_id: "boot-1/7", code: 79 }] },
      },
      {
        kind: "gpu_health_fact",
        key: "node/node-a/gpu/0/boot-1/7",
        facts: { uuid: "GPU-1", fact_id: "boot-1/7", class: "hardware", reason: XID },
      },
    ]);
    await nodes.report(registration, { gpus: [], health: healthReport() });
    expect(states(nodes)).toEqual(["free", "free"]);
    clock.advance(10_000);
    nodes.sweep();
    nodes.sweep();
    expect(kinds(events).slice(2)).toEqual(["gpu_recovered"]);
    expect(events.at(-1)?.facts).toMatchObject({ uuid: "GPU-1", reason: XID });
  });

  it("is not told again after a restart of the cluster-agent, and held over until the first report", async () => {
    const { nodes, store } = await broken();
    // Registrations are kept one after the other with what was told.
    await registered(nodes, withGpus());
    const { nodes: again, events, clock } = await testRegistry(store);
    expect(states(again)?.[0]).toBe("not heard since the cluster-agent started");
    const registration = await registered(again, withGpus());
    expect(states(again)).toEqual([XID, "free"]);
    await again.report(registration, { gpus: [], health: healthReport({}) });
    expect(kinds(events)).toEqual([]);
    await again.report(registration, { gpus: [], health: healthReport() });
    clock.advance(10_000);
    again.sweep();
    expect(kinds(events)).toEqual(["gpu_recovered"]);
  });

  it("is forgotten at a new boot, whose first report says what still holds", async () => {
    const { nodes, events, clock } = await broken();
    const rebooted = registerRequest({ ...withGpus("boot-2"), ...later });
    const registration = await registered(nodes, rebooted);
    expect(nodes.view("node-a")).not.toHaveProperty("kernelLog");
    expect(states(nodes)).toEqual([XID, "free"]);
    await nodes.report(registration, { gpus: [], health: healthReport() });
    expect(states(nodes)).toEqual(["free", "free"]);
    clock.advance(10_000);
    nodes.sweep();
    expect(kinds(events)).toEqual(["gpu_unhealthy", "gpu_health_fact", "gpu_recovered"]);
  });

  it("keeps XID 79 for the whole boot, though the driver lists and reads the GPU again", async () => {
    const { nodes, clock } = await testRegistry();
    const registration = await registered(nodes, withGpus());
    const fallen = { factId: "fallen_off_bus/GPU-1", kind: "fallen_off_bus", code: 0, holds: true };
    const lost = checkFingerprint(fingerprint({ gpus: ["GPU-2"] }));
    const both = healthReport({}, fallen);
    await nodes.report(registration, { fingerprint: lost, gpus: [], health: both });
    expect(states(nodes)).toEqual([XID, "free"]);
    const again = checkFingerprint(fingerprint({ gpus: ["GPU-1", "GPU-2"] }));
    const gpus = [gpuSample("GPU-1"), gpuSample("GPU-2")];
    await nodes.report(registration, { fingerprint: again, gpus, health: healthReport({}) });
    clock.advance(10_000);
    nodes.sweep();
    expect(states(nodes)).toEqual([XID, "free"]);
    const rebooted = await registered(nodes, registerRequest({ ...withGpus("boot-2"), ...later }));
    await nodes.report(rebooted, { gpus, health: healthReport() });
    expect(states(nodes)).toEqual(["free", "free"]);
  });

  it("holds no verdict on GPUs that have not been read yet: a node that joins raises no alarm", async () => {
    const { nodes, events } = await testRegistry();
    const registration = await registered(nodes, withGpus());
    await nodes.report(registration, { gpus: [], health: healthReport() });
    expect(states(nodes)).toEqual(["free", "free"]);
    expect(kinds(events)).toEqual([]);
  });

  it("holds a GPU that could not be read as unhealthy until it has been read again", async () => {
    const { nodes } = await testRegistry();
    const registration = await registered(nodes, withGpus());
    const unread = gpuSample("GPU-1", { quality: Quality.UNAVAILABLE });
    await nodes.report(registration, { gpus: [unread], health: healthReport() });
    const lost = checkFingerprint(fingerprint({ gpus: ["GPU-1"] }));
    await nodes.report(registration, { fingerprint: lost, gpus: [] });
    expect(states(nodes)).toEqual(["it cannot be read", "the driver does not list it"]);
    const again = await registered(nodes, registerRequest({ ...withGpus("boot-2"), ...later }));
    await nodes.report(again, { gpus: [], health: healthReport() });
    expect(states(nodes)).toEqual(["it cannot be read", "the driver does not list it"]);
    await nodes.report(again, { gpus: [gpuSample("GPU-1")] });
    expect(states(nodes)).toEqual(["free", "the driver does not list it"]);
  });

  it("tells nothing of single GPUs when the node falls silent", async () => {
    const { nodes, clock, events } = await testRegistry();
    const registration = await registered(nodes, withGpus());
    await nodes.report(registration, { gpus: [], health: healthReport() });
    clock.advance(15_001);
    nodes.sweep();
    const reason = "telemetry lost: silent for more than 15 s";
    expect(states(nodes)).toEqual([reason, reason]);
    expect(events.map(({ kind }) => kind)).toEqual(["node_joined", "node_telemetry_lost"]);
  });

  it("keeps reporting when the store does not take what was told", async () => {
    const { nodes, store, events } = await testRegistry();
    const registration = await registered(nodes, withGpus());
    await store.close();
    await nodes.report(registration, { gpus: [], health: healthReport({}) });
    expect(states(nodes)).toEqual([XID, "free"]);
    expect(kinds(events)).toEqual(["gpu_unhealthy", "gpu_health_fact"]);
  });
});

describe("the details of a GPU", () => {
  const details = { ageMs: 100, quality: Quality.MEASURED, powerW: 70 };

  it("hold while samples come without, and grow older", async () => {
    const { nodes, clock } = await testRegistry();
    const registration = await registered(nodes, withGpus());
    await nodes.report(registration, { gpus: [gpuSample("GPU-1", { details })] });
    clock.advance(60_000);
    await nodes.report(registration, { gpus: [gpuSample("GPU-1")] });
    expect(nodes.view("node-a")?.details.get("GPU-1")).toMatchObject({
      ageMs: 60_100,
      quality: "measured",
      reading: { powerW: 70 },
    });
  });

  it("go with the GPU, and with the boot", async () => {
    const { nodes } = await testRegistry();
    const registration = await registered(nodes, withGpus());
    const gpus = ["GPU-1", "GPU-2"].map((uuid) => gpuSample(uuid, { details }));
    await nodes.report(registration, { gpus });
    const lost = registerRequest({ fingerprint: fingerprint({ gpus: ["GPU-2"] }) });
    await registered(nodes, lost);
    expect([...(nodes.view("node-a")?.details.keys() ?? [])]).toEqual(["GPU-2"]);
    expect(states(nodes)).toEqual(["the driver does not list it", "free"]);
    await registered(nodes, registerRequest({ ...withGpus("boot-2"), ...later }));
    expect(nodes.view("node-a")?.details.size).toBe(0);
  });

  it("hold at most 1,024 programs of a node", async () => {
    const { nodes } = await testRegistry();
    const uuids = Array.from({ length: 5 }, (_none, at) => `GPU-${at}`);
    const print = fingerprint({ gpus: uuids });
    const registration = await registered(nodes, registerRequest({ fingerprint: print }));
    const processes = Array.from({ length: 256 }, (_none, pid) => ({ pid, name: "p" }));
    const gpus = uuids.map((uuid) => gpuSample(uuid, { details: { ...details, processes } }));
    await nodes.report(registration, { gpus });
    const held = [...(nodes.view("node-a")?.details.values() ?? [])];
    expect(held.map(({ reading }) => reading.processes.length)).toEqual([256, 256, 256, 256, 0]);
  });
});
