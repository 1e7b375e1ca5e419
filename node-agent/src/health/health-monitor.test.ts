import { GpuInfoSchema, type GpuSample, GpuSampleSchema, HealthClass, Quality } from "@berth/proto";
import { silentLogger } from "@berth/service-kit/base";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { GpuEvent, GpuInventory, GpuSource } from "../gpu/gpu-source.ts";
import { BootGpus } from "./boot-gpus.ts";
import { HealthMonitor } from "./health-monitor.ts";
import type { KernelLog, KernelMessage } from "./kernel-log.ts";

const A = create(GpuInfoSchema, { uuid: "GPU-a", pciBusId: "00000000:41:00.0" });
const B = create(GpuInfoSchema, { uuid: "GPU-b", pciBusId: "00000000:42:00.0" });

/** GPUs that a test moves by hand. */
class HandGpus implements GpuSource {
  readonly name = "hand";
  readonly ready = Promise.resolve();
  readonly listeners = new Set<(event: GpuEvent) => void>();
  known: GpuInventory = {
    gpus: [],
    error: "nvidia-smi has not answered yet",
    driverHung: false,
    topology: undefined,
    remarks: [],
  };
  read: GpuSample[] = [];

  async start(): Promise<void> {}
  async stop(): Promise<void> {}
  setIntervalMs(): void {}
  inventory(): GpuInventory {
    return this.known;
  }
  samples(): GpuSample[] {
    return this.read;
  }
  activity() {
    return { child: "running", childStarts: 1, wantedIntervalMs: 0, intervalMs: 0 } as const;
  }
  subscribe(listener: (event: GpuEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
  list(what: Partial<GpuInventory>): void {
    this.known = { ...this.known, error: "", driverHung: false, remarks: [], ...what };
    for (const tell of this.listeners) tell("inventory");
  }
  sample(...samples: readonly GpuSample[]): void {
    this.read = [...samples];
    for (const tell of this.listeners) tell("samples");
  }
}

/** A kernel log that a test writes. */
class HandLog implements KernelLog {
  readonly name = "hand";
  readonly ready = Promise.resolve();
  readonly listeners = new Set<(messages: readonly KernelMessage[]) => void>();
  access: Quality = Quality.MEASURED;
  #seq = 0;

  async start(): Promise<void> {}
  async stop(): Promise<void> {}
  quality(): Quality {
    return this.access;
  }
  subscribe(listener: (messages: readonly KernelMessage[]) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
  write(...texts: readonly string[]): void {
    const messages = texts.map((text) => ({ seq: ++this.#seq, atMs: nowMs, text }));
    for (const tell of this.listeners) tell(messages);
  }
}

let nowMs = 0;
let gpus: HandGpus;
let log: HandLog;
let monitor: HealthMonitor;
let changes = 0;

const ids = () => monitor.report().facts.map(({ factId }) => factId);
const measured = (uuid: string, ageMs = 0) =>
  create(GpuSampleSchema, { uuid, quality: Quality.MEASURED, ageMs, temperatureC: 40 });

beforeEach(async () => {
  nowMs = 1_000_000;
  gpus = new HandGpus();
  log = new HandLog();
  changes = 0;
  monitor = new HealthMonitor({
    gpu: gpus,
    kernelLog: log,
    bootGpus: new BootGpus("/nonexistent/berth"),
    bootId: async () => "boot",
    clock: { nowMs: () => nowMs, timestamp: () => "" },
    logger: silentLogger,
  });
  monitor.subscribe(() => {
    changes += 1;
  });
  await monitor.start();
});

afterEach(() => monitor.stop());

it("has nothing to say of GPUs that are well", () => {
  gpus.list({ gpus: [A, B] });
  gpus.sample(measured("GPU-a"), measured("GPU-b"));
  expect(monitor.report()).toMatchObject({ facts: [], kernelLog: Quality.MEASURED });
  expect(changes).toBe(0);
});

it("says once that the kernel log cannot be read", () => {
  log.access = Quality.UNAVAILABLE;
  log.write();
  log.write();
  expect(monitor.report().kernelLog).toBe(Quality.UNAVAILABLE);
  expect(changes).toBe(1);
});

it("names the GPU of an XID as soon as it knows which one is at the address", () => {
  log.write("usb 1-1: new device", "NVRM: Xid (PCI:0000:41:00): 31, pid=7, name=train");
  expect(monitor.report().facts[0]).toMatchObject({ factId: "boot/2", gpuUuid: "", code: 31 });
  gpus.list({ gpus: [A, B] });
  expect(monitor.report().facts[0]).toMatchObject({ factId: "boot/2", gpuUuid: "GPU-a" });
  expect(changes).toBe(2);
  nowMs += 5_000;
  expect(monitor.report().facts[0]?.ageMs).toBe(5_000n);
  gpus.sample(measured("GPU-a"));
  expect(changes).toBe(2);
});

it("follows a GPU that falls off the bus, vanishes, and comes back after a reset", () => {
  gpus.list({ gpus: [A, B] });
  gpus.sample(measured("GPU-a"), measured("GPU-b"));
  log.write("NVRM: Xid (PCI:0000:41:00): 79, pid=7, GPU has fallen off the bus.");
  expect(ids()).toEqual(["fallen_off_bus/GPU-a", "boot/1"]);
  expect(monitor.report().facts.every((fact) => fact.healthClass === HealthClass.HARDWARE)).toBe(
    true,
  );
  nowMs += 30_000;
  gpus.list({ gpus: [B] });
  gpus.sample(measured("GPU-b"));
  expect(ids()).toEqual(["fallen_off_bus/GPU-a", "boot/1"]);
  nowMs += 30_000;
  gpus.list({ gpus: [A, B] });
  gpus.sample(measured("GPU-a"), measured("GPU-b"));
  expect(ids()).toEqual(["boot/1"]);
});

it("misses a GPU that is no longer listed, though nothing was logged", () => {
  gpus.list({ gpus: [A, B] });
  nowMs += 1_000;
  gpus.list({ gpus: [A] });
  expect(ids()).toEqual(["fallen_off_bus/GPU-b"]);
  nowMs += 1_000;
  gpus.list({ gpus: [], error: "No devices were found" });
  expect(ids().sort()).toEqual(["fallen_off_bus/GPU-a", "fallen_off_bus/GPU-b"]);
});

it("keeps what it knows while the driver hangs, and says that it does", () => {
  gpus.list({ gpus: [A, B] });
  const errors = create(GpuSampleSchema, { ...measured("GPU-a"), eccUncorrectedTotal: 3n });
  gpus.sample(errors, measured("GPU-b"));
  nowMs += 1_000;
  gpus.list({ error: "driver_hung: no end", driverHung: true });
  gpus.sample(create(GpuSampleSchema, { uuid: "GPU-a", quality: Quality.UNAVAILABLE }));
  expect(ids()).toEqual(["driver_hung/", "ecc_uncorrected/GPU-a"]);
  nowMs += 1_000;
  gpus.list({ gpus: [A, B] });
  gpus.sample(measured("GPU-a"), measured("GPU-b"));
  expect(ids()).toEqual(["ecc_uncorrected/GPU-a"]);
});

it("tells of the driver's remarks about a GPU that it never listed, until it lists it", () => {
  const remark = "Unable to determine the device handle for GPU1: 0000:42:00.0: Unknown Error";
  gpus.list({ gpus: [A], remarks: [remark] });
  expect(monitor.report().facts[0]).toMatchObject({
    factId: "fallen_off_bus/0000:42:00",
    gpuUuid: "",
    evidence: remark,
  });
  nowMs += 1_000;
  gpus.list({ gpus: [A, B] });
  expect(ids()).toEqual([]);
});

it("hears nothing any more when it was stopped", async () => {
  await monitor.stop();
  log.write("NVRM: Xid (PCI:0000:41:00): 31");
  expect(ids()).toEqual([]);
  expect(log.listeners.size + gpus.listeners.size).toBe(0);
});
