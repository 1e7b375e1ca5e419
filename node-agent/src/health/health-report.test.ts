import { HealthClass, Quality } from "@berth/proto";
import { expect, it } from "vitest";
import type { Happening } from "./happenings.ts";
import { type HealthState, healthReport, reportIdentity } from "./health-report.ts";
import type { ConditionKind } from "./health-signals.ts";
import type { Condition } from "./judge-health.ts";

const happening = (seq: number, what: Partial<Happening> = {}): Happening => ({
  seq,
  atMs: seq,
  kind: "xid",
  code: 31,
  pci: "0000:41:00",
  healthClass: HealthClass.APPLICATION,
  line: "the line",
  ...what,
});

const condition = (kind: ConditionKind, subject: string, holds = true): [string, Condition] => [
  `${kind}/${subject}`,
  {
    kind,
    subject,
    gpuUuid: subject,
    holds,
    evidence: "x".repeat(600),
    sinceMs: 40,
    shown: 3,
    readAtMs: 50,
    absentSinceMs: undefined,
  },
];

const state = (what: Partial<HealthState> = {}): HealthState => ({
  nowMs: 100,
  bootId: "boot",
  conditions: new Map(),
  happenings: [],
  uuids: new Map([["0000:41:00", "GPU-a"]]),
  kernelLog: Quality.MEASURED,
  ...what,
});

it("names what happened by boot and number, what holds by kind and GPU", () => {
  const { facts } = healthReport(
    state({
      happenings: [happening(7)],
      conditions: new Map([
        condition("row_remap_failed", "GPU-b"),
        condition("power_brake", "GPU-b", false),
      ]),
    }),
  );
  expect(facts).toMatchObject([
    {
      factId: "row_remap_failed/GPU-b",
      gpuUuid: "GPU-b",
      healthClass: HealthClass.HARDWARE,
      ageMs: 60n,
      holds: true,
    },
    { factId: "boot/7", gpuUuid: "GPU-a", kind: "xid", code: 31, ageMs: 93n, holds: false },
  ]);
  expect(facts[0]?.evidence).toHaveLength(512);
});

it("gives no GPU to a switch, nor to an address that none is known at", () => {
  const { facts } = healthReport(
    state({ happenings: [happening(1, { kind: "sxid" }), happening(2, { pci: "0000:77:00" })] }),
  );
  expect(facts.map(({ gpuUuid }) => gpuUuid)).toEqual(["", ""]);
});

it("puts the gravest first, the newest of them before, and cuts at 256", () => {
  const conditions = new Map(
    Array.from({ length: 300 }, (_none, index) => condition("ecc_uncorrected", `GPU-${index}`)),
  );
  const grave = [
    happening(1, { healthClass: HealthClass.HARDWARE }),
    happening(2, { healthClass: HealthClass.HARDWARE }),
    happening(3),
  ];
  const { facts } = healthReport(state({ conditions, happenings: grave }));
  expect(facts).toHaveLength(256);
  expect(facts.slice(0, 3).map(({ factId }) => factId)).toEqual([
    "boot/2",
    "boot/1",
    "ecc_uncorrected/GPU-0",
  ]);
});

it("is the same report when only ages differ", () => {
  const at = (nowMs: number) =>
    reportIdentity(healthReport(state({ nowMs, happenings: [happening(1)] })));
  expect(at(1_000)).toBe(at(2_000));
  const other = healthReport(state({ kernelLog: Quality.UNAVAILABLE, happenings: [happening(1)] }));
  expect(reportIdentity(other)).not.toBe(at(1_000));
});
