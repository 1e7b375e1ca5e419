import { describe, expect, it } from "vitest";
import type { HealthFact } from "./health-facts.ts";
import { factReason, nodeReason, timedNodeReason } from "./health-reasons.ts";

const fact = (values: Partial<HealthFact>): HealthFact => ({
  ...{ factId: "f", gpuUuid: "GPU-1", kind: "xid", class: "hardware" },
  ...{ evidence: "", holds: false, ageMs: 0 },
  ...values,
});

describe("factReason", () => {
  it.each([
    [
      79,
      "NVRM: Xid (PCI:0000:41:00): 79, pid=1234, name=python, GPU has fallen off the bus.",
      "XID 79: GPU has fallen off the bus",
    ],
    [
      79,
      "NVRM: Xid (PCI:0000:1b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
      "XID 79: GPU has fallen off the bus",
    ],
    [48, "NVRM: Xid (PCI:0000:41:00): 48, pid=12", "XID 48"],
    [62, "", "XID 62"],
    [
      74,
      "NVRM: Xid (PCI:0000:85:00): 74, NVLink: fatal error detected on link 6",
      "XID 74: NVLink: fatal error detected on link 6",
    ],
  ])("tells XID %d in the driver's words", (code, evidence, words) => {
    expect(factReason(fact({ code, evidence }))).toBe(words);
  });

  it.each([
    ["row_remap_failed", "row remap failed"],
    ["driver_hung", "nvidia-smi hangs"],
    ["fallen_off_bus", "GPU has fallen off the bus"],
    ["something_new", "something new"],
  ])("tells %s as %s", (kind, words) => {
    expect(factReason(fact({ kind, evidence: "values" }))).toBe(words);
  });

  it("is short whatever the line says", () => {
    const evidence = `NVRM: Xid (PCI:0000:41:00): 79, ${"pid=1, ".repeat(500)}${"x".repeat(9_000)}`;
    expect(factReason(fact({ code: 79, evidence })).length).toBeLessThanOrEqual(200);
  });
});

describe("the reason of a node", () => {
  const silence = {
    liveness: "telemetry_lost",
    isDuplicate: false,
    silentMs: 21_900,
    ttlMs: 15_000,
  } as const;

  it("does not change by the second, but for those who ask how long", () => {
    expect(nodeReason(silence)).toBe("telemetry lost: silent for more than 15 s");
    expect(timedNodeReason(silence)).toBe("telemetry lost: silent for 21 s");
  });

  it("tells of two agents, and of a node that was not heard yet", () => {
    const two = "telemetry lost: two agents run as this node";
    expect(nodeReason({ ...silence, isDuplicate: true })).toBe(two);
    expect(timedNodeReason({ ...silence, isDuplicate: true })).toBe(two);
    const unknown = { ...silence, liveness: "unknown" } as const;
    expect(timedNodeReason(unknown)).toBe("not heard since the cluster-agent started");
  });

  it("is none for a live node", () => {
    expect(nodeReason({ ...silence, liveness: "live" })).toBeUndefined();
    expect(timedNodeReason({ ...silence, liveness: "live" })).toBeUndefined();
  });
});
