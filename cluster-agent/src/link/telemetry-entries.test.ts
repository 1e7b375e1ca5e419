import { describe, expect, it } from "vitest";
import { fingerprint, hostSample, registerRequest } from "../testing/fixtures.ts";
import { registered, testRegistry } from "../testing/registry.ts";
import { TelemetryDelta, telemetryEntries } from "./telemetry-entries.ts";

async function twoNodes() {
  const { nodes } = await testRegistry();
  const join = (nodeId: string) =>
    registered(nodes, registerRequest({ nodeId, fingerprint: fingerprint({ machineId: nodeId }) }));
  return { nodes, first: await join("n1"), second: await join("n2") };
}

const keys = (entries: readonly { key: string }[]) => entries.map((entry) => entry.key);

describe("TelemetryDelta", () => {
  it("gives everything first, then nothing until something changes, then what changed", async () => {
    const { nodes, first } = await twoNodes();
    const delta = new TelemetryDelta();
    expect(keys(delta.next(telemetryEntries(nodes.views(), nodes.version, 0n)))).toEqual([
      "metrics",
      "node/n1",
      "node/n2",
    ]);
    expect(delta.next(telemetryEntries(nodes.views(), nodes.version, 0n))).toEqual([]);
    await nodes.report(first, { host: hostSample(), gpus: [] });
    const changed = delta.next(telemetryEntries(nodes.views(), nodes.version, 0n));
    expect(keys(changed)).toEqual(["metrics", "node/n1"]);
    expect(JSON.parse(changed[1]?.json ?? "")).toMatchObject({ id: "n1", age_ms: 10 });
    expect(JSON.parse(changed[0]?.json ?? "")).toMatchObject({ memory: { usedMem: 16_000 } });
  });

  it("tells a key that is gone as deleted, once, with a higher revision", async () => {
    const { nodes } = await twoNodes();
    const delta = new TelemetryDelta();
    const all = telemetryEntries(nodes.views(), nodes.version, 0n);
    delta.next(all);
    const rest = all.filter((entry) => entry.key !== "node/n2");
    const before = all.find((entry) => entry.key === "node/n2")?.revision ?? 0n;
    expect(delta.next(rest)).toEqual([
      { key: "node/n2", revision: before + 1n, ageMs: 0, deleted: true, json: "" },
    ]);
    expect(delta.next(rest)).toEqual([]);
  });
});

describe("telemetryEntries", () => {
  it("has the aggregate alone for a cluster without nodes", () => {
    const [only, ...more] = telemetryEntries([], 0, 7n);
    expect(only).toMatchObject({ key: "metrics", revision: 7n, ageMs: 0 });
    expect(more).toEqual([]);
  });
});
