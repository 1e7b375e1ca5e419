import { describe, expect, it } from "vitest";
import type { ConditionKind, Signal } from "./health-signals.ts";
import { type Conditions, judgeHealth } from "./judge-health.ts";

const signal = (kind: ConditionKind, readAtMs: number, evidence?: string): Signal => ({
  kind,
  subject: "GPU-1",
  gpuUuid: "GPU-1",
  present: evidence !== undefined,
  evidence: evidence ?? "",
  readAtMs,
});

/** Judges one signal after the other. */
function after(...signals: readonly Signal[]): Conditions {
  return signals.reduce<Conditions>((before, one) => judgeHealth(before, [one]), new Map());
}

const holds = (conditions: Conditions) =>
  [...conditions.values()].filter((one) => one.holds).map(({ kind }) => kind);

/** Signals of one kind, one per second: "x" for present, "." for absent. */
const seconds = (kind: ConditionKind, shown: string) =>
  [...shown].map((one, second) => signal(kind, second * 1_000, one === "x" ? "hot" : undefined));

describe("a counter of the driver", () => {
  it.each([
    "ecc_uncorrected",
    "row_remap_pending",
    "row_remap_failed",
    "fallen_off_bus",
    "driver_hung",
    "info_rom_corrupted",
  ] as const)("%s holds and ceases to hold at once", (kind) => {
    expect(holds(after(signal(kind, 0, "bad")))).toEqual([kind]);
    expect(holds(after(signal(kind, 0, "bad"), signal(kind, 1_000)))).toEqual([]);
  });

  it("keeps when it began and shows its newest evidence", () => {
    const conditions = after(
      signal("ecc_uncorrected", 0, "1"),
      signal("ecc_uncorrected", 9_000, "2"),
    );
    expect([...conditions.values()][0]).toMatchObject({ sinceMs: 0, evidence: "2" });
  });
});

describe("throttling", () => {
  it.each([
    ["x", false],
    ["xx", false],
    ["xxx", true],
    ["xx.xx", false],
    ["x.x.x.x.x.x.x.x", false],
    ["xxx.", true],
    [`xxx${".".repeat(31)}`, false],
    [`xxx${".".repeat(25)}x${".".repeat(25)}`, true],
  ])("after %j holds: %s", (shown, expected) => {
    const conditions = after(...seconds("thermal_slowdown", shown));
    expect(holds(conditions)).toEqual(expected ? ["thermal_slowdown"] : []);
  });

  it("holds after 10 s when readings are rare", () => {
    const rare = [signal("power_brake", 0, "brake"), signal("power_brake", 10_000, "brake")];
    expect(holds(after(...rare))).toEqual(["power_brake"]);
  });

  it("does not count one reading twice", () => {
    const same = [0, 0.6, 1.4, 0.2].map((ms) => signal("thermal_slowdown", ms, "hot"));
    expect(holds(after(...same))).toEqual([]);
  });

  it("keeps the evidence it began with", () => {
    const conditions = after(
      ...["a", "b", "c", "d"].map((evidence, second) =>
        signal("thermal_slowdown", second * 1_000, evidence),
      ),
    );
    expect([...conditions.values()][0]?.evidence).toBe("a");
  });
});

it("leaves as it was what nothing is said of", () => {
  const before = after(signal("ecc_uncorrected", 0, "1"));
  expect(judgeHealth(before, [])).toEqual(before);
});

it("keeps no more than 512 conditions", () => {
  const many = Array.from({ length: 1_000 }, (_none, index) => ({
    ...signal("ecc_uncorrected", 0, "1"),
    subject: `GPU-${index}`,
  }));
  expect(judgeHealth(new Map(), many).size).toBe(512);
});
