import { GpuSampleSchema, Quality } from "@berth/proto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { type HealthObservation, healthSignals } from "./health-signals.ts";

const A = { uuid: "GPU-a", pci: "0000:41:00" };
const B = { uuid: "GPU-b", pci: "0000:42:00" };
const NOW_MS = 100_000;

const sample = (values: MessageInitShape<typeof GpuSampleSchema>) =>
  create(GpuSampleSchema, { uuid: A.uuid, quality: Quality.MEASURED, temperatureC: 40, ...values });

const seen = (what: Partial<HealthObservation> = {}): HealthObservation => ({
  nowMs: NOW_MS,
  bootGpus: [A, B],
  listed: new Set([A.uuid, B.uuid]),
  isWholeList: true,
  samples: [],
  remarks: [],
  driverHung: undefined,
  fallen: new Map(),
  strangers: [],
  ...what,
});

/** What is present, as "kind/subject". */
const present = (what: Partial<HealthObservation>) =>
  healthSignals(seen(what))
    .filter((signal) => signal.present)
    .map(({ kind, subject }) => `${kind}/${subject}`);

/** Whether one kind of GPU A is present; undefined when nothing is said of it. */
const verdict = (kind: string, what: Partial<HealthObservation>) =>
  healthSignals(seen(what)).find((one) => one.kind === kind && one.subject === A.uuid)?.present;

it("finds nothing wrong with GPUs that answer", () => {
  expect(
    present({ samples: [sample({ eccUncorrectedTotal: 0n, throttleReasons: ["gpu_idle"] })] }),
  ).toEqual([]);
});

describe("samples", () => {
  const details = { quality: Quality.MEASURED };

  it.each([
    ["ecc_uncorrected", sample({ eccUncorrectedTotal: 2n })],
    ["thermal_slowdown", sample({ throttleReasons: ["sw_thermal_slowdown"] })],
    ["thermal_slowdown", sample({ throttleReasons: ["hw_slowdown", "hw_thermal_slowdown"] })],
    ["power_brake", sample({ throttleReasons: ["hw_power_brake_slowdown"] })],
    ["row_remap_pending", sample({ details: { ...details, rowRemapPending: true } })],
    ["row_remap_failed", sample({ details: { ...details, rowRemapFailed: true } })],
  ])("show %s", (kind, one) => {
    expect(verdict(kind, { samples: [one] })).toBe(true);
    expect(present({ samples: [one] })).toEqual([`${kind}/${A.uuid}`]);
  });

  it.each([
    ["ecc_uncorrected", "no error", sample({ eccUncorrectedTotal: 0n }), false],
    ["ecc_uncorrected", "no counter", sample({}), undefined],
    [
      "ecc_uncorrected",
      "an old error",
      sample({ eccUncorrectedTotal: 2n, quality: Quality.STALE }),
      undefined,
    ],
    ["thermal_slowdown", "no reason", sample({}), false],
    [
      "thermal_slowdown",
      "no value at all",
      create(GpuSampleSchema, { uuid: A.uuid, quality: Quality.MEASURED }),
      undefined,
    ],
    [
      "row_remap_failed",
      "no failure",
      sample({ details: { ...details, rowRemapFailed: false } }),
      false,
    ],
    ["row_remap_failed", "no such value", sample({ details }), undefined],
    [
      "row_remap_failed",
      "an old failure",
      sample({ details: { rowRemapFailed: true, quality: Quality.STALE } }),
      undefined,
    ],
  ])("say of %s with %s", (kind, _with, one, expected) => {
    expect(verdict(kind, { samples: [one] })).toBe(expected);
  });

  it("give the time they were read and the values as evidence", () => {
    const signals = healthSignals(
      seen({ samples: [sample({ ageMs: 300, eccUncorrectedTotal: 2n })] }),
    );
    const ecc = signals.find(({ kind }) => kind === "ecc_uncorrected");
    expect(ecc?.readAtMs).toBe(NOW_MS - 300);
    expect(ecc?.evidence).toBe("uncorrected ECC errors since load: 2");
  });
});

describe("fallen_off_bus", () => {
  const fallen = (agoMs: number) => new Map([[A.pci, { atMs: NOW_MS - agoMs, line: "XID 79" }]]);
  const unread = (ageMs: number) => sample({ quality: Quality.UNAVAILABLE, ageMs });

  it.each([
    ["listed, and nothing was logged", {}, false],
    ["listed earlier in this boot", { listed: new Set([B.uuid]) }, true],
    [
      "missing in a listing that broke off",
      { listed: new Set([B.uuid]), isWholeList: false },
      undefined,
    ],
    ["no longer listed, for the driver lists nothing at all", { listed: new Set<string>() }, true],
    ["the driver cannot list", { listed: undefined }, undefined],
    ["fell just now", { fallen: fallen(100), samples: [sample({ ageMs: 600 })] }, true],
    ["answers again after a reset", { fallen: fallen(60_000), samples: [sample({})] }, false],
    [
      "answers only errors after its fall",
      {
        fallen: fallen(60_000),
        samples: [create(GpuSampleSchema, { uuid: A.uuid, quality: Quality.MEASURED })],
      },
      true,
    ],
    [
      "fell before this agent's start, and was not read yet",
      { fallen: fallen(60_000), samples: [unread(500)] },
      undefined,
    ],
    [
      "fell before this agent's start, and cannot be read",
      { fallen: fallen(60_000), samples: [unread(11_000)] },
      true,
    ],
    ["fell, and nothing was listed yet", { fallen: fallen(9), listed: undefined }, undefined],
    [
      "the driver cannot reach it",
      { remarks: ["Unable to determine the device handle for GPU0: 0000:41:00.0: Unknown Error"] },
      true,
    ],
  ])("of a GPU: %s", (_what, what: Partial<HealthObservation>, expected) => {
    expect(verdict("fallen_off_bus", what)).toBe(expected);
  });

  it("is told of the address when the GPU was never listed, until the GPU is listed there", () => {
    const pci = "0000:99:00";
    const fall = new Map([[pci, { atMs: 0, line: "XID 79" }]]);
    expect(present({ fallen: fall })).toEqual([`fallen_off_bus/${pci}`]);
    const strangers = [{ kind: "fallen_off_bus", subject: pci } as const];
    const later = healthSignals(
      seen({ fallen: fall, strangers, bootGpus: [A, B, { uuid: "GPU-c", pci }] }),
    );
    const forgotten = later.find(({ subject }) => subject === pci);
    expect(forgotten?.present).toBe(false);
  });
});

describe("info_rom_corrupted", () => {
  const remarks = ["WARNING: infoROM is corrupted at gpu 0000:41:00.0"];

  it("is told of the GPU that the warning names", () => {
    expect(present({ remarks })).toEqual([`info_rom_corrupted/${A.uuid}`]);
    expect(verdict("info_rom_corrupted", {})).toBe(false);
    expect(verdict("info_rom_corrupted", { listed: undefined })).toBeUndefined();
  });

  it("is told of the address that no GPU is known at", () => {
    expect(present({ remarks, bootGpus: [B] })).toEqual(["info_rom_corrupted/0000:41:00"]);
  });
});

it("tells of a driver that hangs, and that it does not", () => {
  const hung = healthSignals(seen({ driverHung: "driver_hung: no end" }))[0];
  expect(hung).toMatchObject({ kind: "driver_hung", subject: "", present: true });
  expect(healthSignals(seen())[0]).toMatchObject({ kind: "driver_hung", present: false });
});
