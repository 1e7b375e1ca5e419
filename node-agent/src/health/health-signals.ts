import { type GpuSample, HealthClass, Quality } from "@berth/proto";
import { pciKeyIn } from "./pci-key.ts";

/** A GPU that was listed in this boot. */
export interface BootGpu {
  readonly uuid: string;
  /** Address as `pciKey` spells it; "" where the driver did not say. */
  readonly pci: string;
}

/** What there is to judge, at one moment. */
export interface HealthObservation {
  readonly nowMs: number;
  /** Every GPU that was listed in this boot, those that are listed now among them. */
  readonly bootGpus: readonly BootGpu[];
  /** UUIDs of the GPUs that are listed now; undefined while the driver cannot list them. */
  readonly listed: ReadonlySet<string> | undefined;
  /** Whether the driver had nothing to complain of when it listed them: then what is missing is gone. */
  readonly isWholeList: boolean;
  /** Newest samples of the listed GPUs, with ages of now. */
  readonly samples: readonly GpuSample[];
  /** What the driver printed beside its answers. */
  readonly remarks: readonly string[];
  /** Why the driver counts as hung; undefined when it does not. */
  readonly driverHung: string | undefined;
  /** When a GPU (by PCI address) fell off its bus last, as the kernel log says, with its line. */
  readonly fallen: ReadonlyMap<string, FallenGpu>;
  /** Conditions that are known of addresses where no GPU was listed when they began. */
  readonly strangers: readonly Stranger[];
}

/** A condition of a GPU of which only the PCI address is known. */
export type Stranger = Pick<Signal, "kind" | "subject">;

/** What the kernel log says of a GPU that fell off its bus. */
export interface FallenGpu {
  readonly atMs: number;
  readonly line: string;
}

/** Conditions of a GPU or its node. */
export type ConditionKind =
  | "ecc_uncorrected"
  | "row_remap_pending"
  | "row_remap_failed"
  | "thermal_slowdown"
  | "power_brake"
  | "fallen_off_bus"
  | "driver_hung"
  | "info_rom_corrupted";

/** What each condition asks for. */
export const CONDITION_CLASSES: Readonly<Record<ConditionKind, HealthClass>> = {
  // The counter is that since the driver was loaded: a reset clears it, nothing else does.
  ecc_uncorrected: HealthClass.RESET,
  row_remap_pending: HealthClass.RESET,
  row_remap_failed: HealthClass.HARDWARE,
  // Heat and power come from outside of the GPU: it works on, slower.
  thermal_slowdown: HealthClass.INFO,
  power_brake: HealthClass.INFO,
  fallen_off_bus: HealthClass.HARDWARE,
  driver_hung: HealthClass.RESET,
  info_rom_corrupted: HealthClass.INFO,
};

/** Whether one condition shows in one observation. What is in no signal is not known. */
export interface Signal {
  readonly kind: ConditionKind;
  /** UUID of the GPU; "" for the node; the PCI address of a GPU that was never listed. */
  readonly subject: string;
  readonly gpuUuid: string;
  readonly present: boolean;
  /** The values or the line that it shows in; "" when absent. */
  readonly evidence: string;
  /** When it was read; the same reading is not counted twice. */
  readonly readAtMs: number;
}

/** A reading has to be this much younger than a fall to show that the GPU is back, in ms. */
const BACK_AFTER_MS = 5_000;

/** A GPU that fell and is listed is given this long to be read, in ms. */
const SILENT_AFTER_MS = 10_000;

const THERMAL = ["hw_thermal_slowdown", "sw_thermal_slowdown"];
const POWER_BRAKE = ["hw_power_brake_slowdown"];

/** What an observation shows; pure. */
export function healthSignals(seen: HealthObservation): Signal[] {
  const { nowMs, driverHung } = seen;
  const hung: Signal = {
    kind: "driver_hung",
    subject: "",
    gpuUuid: "",
    present: driverHung !== undefined,
    evidence: driverHung ?? "",
    readAtMs: nowMs,
  };
  const signals = [
    hung,
    ...seen.samples.flatMap((sample) => sampleSignals(sample, nowMs)),
    ...fallenSignals(seen),
    ...infoRomSignals(seen),
  ];
  return [...signals, ...formerStrangers(signals, seen)];
}

/** A stranger that no line speaks of any more has been listed since, or is forgotten by the driver. */
function formerStrangers(
  signals: readonly Signal[],
  { strangers, listed, nowMs }: HealthObservation,
): Signal[] {
  if (listed === undefined || strangers.length === 0) return [];
  const told = new Set(signals.map(({ kind, subject }) => `${kind}/${subject}`));
  return strangers
    .filter(({ kind, subject }) => !told.has(`${kind}/${subject}`))
    .map((one) => ({ ...one, gpuUuid: "", present: false, evidence: "", readAtMs: nowMs }));
}

function sampleSignals(sample: GpuSample, nowMs: number): Signal[] {
  const { details } = sample;
  const signals: Signal[] = [];
  const tell = (kind: ConditionKind, present: boolean, say: () => string, readAtMs: number) => {
    const gpuUuid = sample.uuid;
    const evidence = present ? say() : "";
    signals.push({ kind, subject: gpuUuid, gpuUuid, present, evidence, readAtMs });
  };
  if (isUsable(sample.quality)) {
    const atMs = nowMs - sample.ageMs;
    const errors = sample.eccUncorrectedTotal;
    if (errors !== undefined) {
      tell(
        "ecc_uncorrected",
        errors > 0n,
        () => `uncorrected ECC errors since load: ${errors}`,
        atMs,
      );
    }
    const { throttleReasons: reasons } = sample;
    const evidence = () => `throttle reasons: ${reasons.join(", ")}`;
    if (reasons.length > 0 || sample.temperatureC !== undefined) {
      tell("thermal_slowdown", includesAny(reasons, THERMAL), evidence, atMs);
      tell("power_brake", includesAny(reasons, POWER_BRAKE), evidence, atMs);
    }
  }
  if (details !== undefined && isUsable(details.quality)) {
    const atMs = nowMs - details.ageMs;
    const { rowRemapPending: pending, rowRemapFailed: failed } = details;
    const rows = () =>
      `remapped rows: ${count(details.remappedRowsCorrectable)} after corrected errors, ${count(details.remappedRowsUncorrectable)} after uncorrected ones`;
    if (pending !== undefined) tell("row_remap_pending", pending, () => `${rows()}; pending`, atMs);
    if (failed !== undefined) tell("row_remap_failed", failed, () => `${rows()}; failed`, atMs);
  }
  return signals;
}

function fallenSignals(seen: HealthObservation): Signal[] {
  const unreachable = new Map(
    seen.remarks.flatMap((line): [string, string][] => {
      const pci = /unable to determine the device handle/i.test(line) ? pciKeyIn(line) : undefined;
      return pci === undefined ? [] : [[pci, line]];
    }),
  );
  const known = seen.bootGpus.flatMap((gpu) => fallenSignal(gpu, unreachable, seen));
  const addresses = new Set(seen.bootGpus.map(({ pci }) => pci));
  const unlisted = new Map([...lines(seen.fallen), ...unreachable]);
  const strangers = [...unlisted].filter(([pci]) => !addresses.has(pci));
  return [
    ...known,
    ...strangers.map(([pci, line]) => fallenAs({ subject: pci, gpuUuid: "" }, line, seen.nowMs)),
  ];
}

/** Nothing is said of a GPU while there is neither a list nor a line about it. */
function fallenSignal(
  gpu: BootGpu,
  unreachable: ReadonlyMap<string, string>,
  seen: HealthObservation,
): Signal[] {
  const { nowMs, listed, isWholeList } = seen;
  const about = { subject: gpu.uuid, gpuUuid: gpu.uuid };
  const remark = unreachable.get(gpu.pci);
  if (remark !== undefined) return [fallenAs(about, remark, nowMs)];
  const fall = seen.fallen.get(gpu.pci);
  const state = fall === undefined ? "back" : stateAfter(fall, gpu, seen);
  if (state === "unclear") return [];
  if (fall !== undefined && state === "fallen") return [fallenAs(about, fall.line, nowMs)];
  if (listed === undefined) return [];
  if (!listed.has(gpu.uuid)) {
    // A listing that broke off says nothing of those it did not come to.
    if (!isWholeList) return [];
    const line = `listed at ${gpu.pci} earlier in this boot, and no longer`;
    return [fallenAs(about, line, nowMs)];
  }
  return [{ ...fallenAs(about, "", nowMs), present: false }];
}

/**
 * A GPU that was reset after its fall is listed and answers with values. An agent that has just started
 * finds the fall in the kernel log, and waits for a reading before it says that the GPU is gone.
 */
function stateAfter(
  { atMs }: FallenGpu,
  { uuid }: BootGpu,
  { samples, listed, nowMs }: HealthObservation,
): "fallen" | "back" | "unclear" {
  const sample = samples.find((one) => one.uuid === uuid);
  if (sample === undefined) return listed === undefined ? "unclear" : "fallen";
  if (isUsable(sample.quality)) {
    const isLater = nowMs - sample.ageMs > atMs + BACK_AFTER_MS;
    return isLater && sample.temperatureC !== undefined ? "back" : "fallen";
  }
  const isSilent = sample.ageMs > SILENT_AFTER_MS || nowMs - atMs < SILENT_AFTER_MS;
  return isSilent ? "fallen" : "unclear";
}

function fallenAs(
  about: { readonly subject: string; readonly gpuUuid: string },
  evidence: string,
  readAtMs: number,
): Signal {
  return { kind: "fallen_off_bus", ...about, present: true, evidence, readAtMs };
}

function infoRomSignals({ remarks, bootGpus, listed, nowMs }: HealthObservation): Signal[] {
  if (listed === undefined) return [];
  const corrupted = new Map(
    remarks
      .filter((line) => /inforom is corrupted/i.test(line))
      .map((line) => [pciKeyIn(line) ?? "", line] as const),
  );
  const kind = "info_rom_corrupted";
  const signals = bootGpus.map(({ uuid, pci }): Signal => {
    const line = pci === "" ? undefined : corrupted.get(pci);
    corrupted.delete(pci);
    const present = line !== undefined;
    return { kind, subject: uuid, gpuUuid: uuid, present, evidence: line ?? "", readAtMs: nowMs };
  });
  const strangers = [...corrupted].map(
    ([pci, line]): Signal => ({
      kind,
      subject: pci,
      gpuUuid: "",
      present: true,
      evidence: line,
      readAtMs: nowMs,
    }),
  );
  return [...signals, ...strangers];
}

function isUsable(quality: Quality): boolean {
  return (
    quality === Quality.MEASURED || quality === Quality.DERIVED || quality === Quality.SIMULATED
  );
}

function includesAny(reasons: readonly string[], wanted: readonly string[]): boolean {
  return wanted.some((reason) => reasons.includes(reason));
}

function count(rows: number | undefined): string {
  return rows === undefined ? "?" : String(rows);
}

function lines(fallen: ReadonlyMap<string, FallenGpu>): [string, string][] {
  return [...fallen].map(([pci, { line }]) => [pci, line]);
}
