import { HealthClass, Quality } from "@berth/proto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { healthReport } from "../testing/fixtures.ts";
import { checkHealth, HEALTH_LIMITS, healthClass } from "./check-health.ts";

const fields = (problems: readonly { field: string }[]) => problems.map(({ field }) => field);

describe("checkHealth", () => {
  it("keeps a good fact as plain values", () => {
    const { reading, problems } = checkHealth(healthReport({}));
    expect(problems).toEqual([]);
    expect(reading).toEqual({
      kernelLog: "measured",
      facts: [
        {
          factId: "boot-1/7",
          gpuUuid: "GPU-1",
          kind: "xid",
          class: "hardware",
          code: 79,
          evidence:
            "NVRM: Xid (PCI:0000:41:00): 79, pid=1234, name=python, GPU has fallen off the bus.",
          holds: false,
          ageMs: 1_000,
        },
      ],
    });
  });

  it("puts the gravest first, of equal gravity what holds, of those the newest", () => {
    const { reading } = checkHealth(
      healthReport(
        { factId: "a", healthClass: HealthClass.APPLICATION, holds: true },
        { factId: "old", ageMs: 9_000n },
        { factId: "new", ageMs: 1n },
        { factId: "holds", ageMs: 99_000n, holds: true },
        { factId: "reset", healthClass: HealthClass.RESET },
      ),
    );
    const ids = reading.facts.map(({ factId }) => factId);
    expect(ids).toEqual(["holds", "new", "old", "reset", "a"]);
  });

  it.each([
    [HealthClass.UNSPECIFIED, "application"],
    [HealthClass.INFO, "info"],
    [HealthClass.RESET, "reset"],
    [99 as HealthClass, "application"],
  ])("reads class %d as %s", (sent, word) => {
    expect(healthClass(sent)).toBe(word);
  });

  it("leaves out facts without a usable id or kind and ids that came before, and names what is wrong", () => {
    const report = healthReport({ factId: "" }, { kind: "X!" }, {}, { evidence: "again" });
    const { reading, problems } = checkHealth(report);
    expect(reading.facts.map(({ evidence }) => evidence.slice(0, 4))).toEqual(["NVRM"]);
    expect(fields(problems)).toEqual([
      "health facts.factId",
      "health facts.kind",
      "health facts.factId",
    ]);
  });

  it("counts a fact whose GPU cannot be read as one about the node", () => {
    const { reading, problems } = checkHealth(healthReport({ gpuUuid: "a b" }));
    expect(reading.facts[0]?.gpuUuid).toBe("");
    expect(fields(problems)).toEqual(["health facts.gpuUuid"]);
  });

  it("cuts what is too much, and control characters, and says so of facts", () => {
    const many = Array.from({ length: HEALTH_LIMITS.facts + 1 }, (_none, at) => ({
      factId: `f/${at}`,
      evidence: `a\u001b[31m${"x".repeat(2_000)}`,
    }));
    const { reading, problems } = checkHealth(healthReport(...many));
    expect(reading.facts).toHaveLength(HEALTH_LIMITS.facts);
    expect(reading.facts[0]?.evidence).toHaveLength(HEALTH_LIMITS.evidence);
    expect(reading.facts[0]?.evidence.slice(0, 6)).toBe("a [31m");
    expect(fields(problems)).toEqual(["health facts"]);
  });

  it("has no code where there is none, and an age that is a number however large", () => {
    const { reading } = checkHealth(healthReport({ code: 0, ageMs: 2n ** 63n }));
    expect(reading.facts[0]).not.toHaveProperty("code");
    expect(reading.facts[0]?.ageMs).toBe(Number.MAX_SAFE_INTEGER);
  });

  it("takes any text without failing, within its bounds", () => {
    const texts = fc.record({ factId: fc.string(), kind: fc.string(), evidence: fc.string() });
    fc.assert(
      fc.property(fc.array(texts, { maxLength: 20 }), (facts) => {
        const { reading } = checkHealth(healthReport(...facts));
        for (const fact of reading.facts) {
          expect(fact.factId).toMatch(/^[!-~]{1,192}$/);
          expect(fact.evidence).not.toMatch(/\p{Cc}/u);
        }
      }),
    );
  });

  it("tells a kernel log that cannot be read", () => {
    const report = healthReport();
    report.kernelLog = Quality.UNAVAILABLE;
    expect(checkHealth(report).reading).toEqual({ facts: [], kernelLog: "unavailable" });
  });
});
