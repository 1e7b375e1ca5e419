import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type GpuEvidence, judgeGpus } from "./gpu-verdict.ts";
import type { HealthFact } from "./health-facts.ts";

const fact = (values: Partial<HealthFact>): HealthFact => ({
  ...{ factId: "f", gpuUuid: "GPU-1", kind: "xid", class: "hardware", code: 79 },
  ...{ evidence: "NVRM: Xid (PCI:0000:41:00): 79, GPU has fallen off the bus." },
  ...{ holds: false, ageMs: 0 },
  ...values,
});

function judged(evidence: Partial<GpuEvidence> = {}) {
  return judgeGpus({
    slots: [{ uuid: "GPU-1" }, { uuid: "GPU-2" }],
    nodeReason: undefined,
    listed: new Set(["GPU-1", "GPU-2"]),
    unavailable: new Set(),
    facts: [],
    heldOver: new Map(),
    ...evidence,
  });
}
const states = (evidence: Partial<GpuEvidence>) =>
  judged(evidence).verdicts.map(({ state, reason }) => reason ?? state);

describe("judgeGpus", () => {
  it("calls GPUs of a live node free", () => {
    expect(judged().verdicts).toEqual([
      { uuid: "GPU-1", state: "free", facts: [] },
      { uuid: "GPU-2", state: "free", facts: [] },
    ]);
  });

  it("calls all GPUs of a node that is not live unhealthy for its reason", () => {
    expect(states({ nodeReason: "silent" })).toEqual(["silent", "silent"]);
  });

  it.each(["hardware", "reset"] as const)(
    "calls a GPU with a fact of class %s unhealthy, also with one that only happened",
    (grave) => {
      const [first, second] = judged({ facts: [fact({ class: grave })] }).verdicts;
      expect(first).toMatchObject({
        state: "unhealthy",
        health: grave,
        reason: "XID 79: GPU has fallen off the bus",
      });
      expect(second?.state).toBe("free");
    },
  );

  it.each(["application", "info"] as const)("leaves a GPU with a fact of class %s free", (mild) => {
    const facts = [fact({ class: mild, holds: true })];
    expect(judged({ facts }).verdicts[0]).toMatchObject({ state: "free", health: mild, facts });
  });

  it("calls all GPUs unhealthy while the driver hangs, and none when it is a GPU's fact", () => {
    const hung = fact({ gpuUuid: "", kind: "driver_hung", class: "reset", holds: true });
    const words = "nvidia-smi hangs";
    const { code: _none, ...withoutCode } = hung;
    expect(states({ facts: [withoutCode] })).toEqual([words, words]);
    expect(judged({ facts: [withoutCode] }).verdicts[0]?.health).toBe("reset");
    expect(states({ facts: [{ ...withoutCode, holds: false }] })).toEqual(["free", "free"]);
    expect(states({ facts: [{ ...withoutCode, gpuUuid: "GPU-9" }] })).toEqual(["free", "free"]);
  });

  it("tells apart what is not listed and what cannot be read", () => {
    expect(states({ listed: new Set(["GPU-2"]), unavailable: new Set(["GPU-2"]) })).toEqual([
      "the driver does not list it",
      "it cannot be read",
    ]);
  });

  it("prefers the fact with a number among equally grave ones", () => {
    const { code: _none, ...fallen } = fact({ factId: "g", kind: "fallen_off_bus", holds: true });
    expect(states({ facts: [fallen, fact({})] })[0]).toBe("XID 79: GPU has fallen off the bus");
    expect(states({ facts: [fallen, fact({ class: "reset" })] })[0]).toBe(
      "GPU has fallen off the bus",
    );
  });

  it("holds over what was unhealthy before, until something graver is known", () => {
    const heldOver = new Map([["GPU-1", "row remap failed"]]);
    expect(states({ heldOver })).toEqual(["row remap failed", "free"]);
    expect(states({ heldOver, facts: [fact({})] })[0]).toContain("XID 79");
  });

  it("keeps facts about no slot apart", () => {
    const stranger = fact({ gpuUuid: "GPU-9" });
    const switched = fact({ factId: "s", gpuUuid: "", kind: "sxid", class: "reset" });
    const { verdicts, nodeFacts } = judged({ facts: [switched, stranger] });
    expect(nodeFacts).toEqual([stranger, switched]);
    expect(verdicts.map(({ state }) => state)).toEqual(["free", "free"]);
  });

  it("gives every slot one verdict, and a reason exactly to those that are unhealthy", () => {
    const facts = fc.array(
      fc.record({
        factId: fc.string(),
        gpuUuid: fc.constantFrom("GPU-1", "GPU-2", "GPU-9", ""),
        kind: fc.constantFrom("xid", "driver_hung", "row_remap_failed"),
        class: fc.constantFrom(
          "info" as const,
          "application" as const,
          "reset" as const,
          "hardware" as const,
        ),
        evidence: fc.string(),
        holds: fc.boolean(),
        ageMs: fc.nat(),
      }),
    );
    fc.assert(
      fc.property(facts, fc.boolean(), (some, isListed) => {
        const listed = new Set(isListed ? ["GPU-1", "GPU-2"] : []);
        const { verdicts, nodeFacts } = judged({ facts: some, listed });
        expect(verdicts).toHaveLength(2);
        for (const verdict of verdicts) {
          expect(verdict.reason !== undefined).toBe(verdict.state === "unhealthy");
        }
        const held = verdicts.reduce((sum, one) => sum + one.facts.length, nodeFacts.length);
        expect(held).toBe(some.length);
      }),
    );
  });
});
