import {
  FingerprintSchema,
  GpuSampleSchema,
  HealthClass,
  type HealthFactSchema,
  HealthReportSchema,
  HostSampleSchema,
  NodeRegisterRequestSchema,
  Quality,
} from "@berth/proto";
import type { Clock } from "@berth/service-kit";
import { create, type MessageInitShape } from "@bufbuild/protobuf";

/** A clock that tests move by hand. */
export class HandClock implements Clock {
  #nowMs = 1_000;

  nowMs(): number {
    return this.#nowMs;
  }

  timestamp(): string {
    return "2026-11-21T12:00:00.000Z";
  }

  advance(ms: number): void {
    this.#nowMs += ms;
  }
}

/** A fingerprint of a 16-core node with the given GPUs of 80 GiB. */
export function fingerprint(
  options: { machineId?: string; bootId?: string; gpus?: readonly string[] } = {},
) {
  const { machineId = "machine-a", bootId = "boot-1" } = options;
  return create(FingerprintSchema, {
    identity: { machineId, bootId },
    hostname: "node-a",
    osRelease: "Debian GNU/Linux 12 (bookworm)",
    kernelRelease: "6.1.0-18-amd64",
    architecture: "x86_64",
    cpu: { modelName: "EPYC", logicalCores: 16, physicalCores: 8 },
    memoryMib: 64_000n,
    swapMib: 8_000n,
    disks: [{ device: "/dev/sda1", mountPoint: "/", fileSystem: "ext4", sizeMib: 100_000n }],
    networkInterfaces: [{ name: "eth0", speedMbps: 10_000 }, { name: "eth1" }],
    gpus: (options.gpus ?? []).map((uuid, driverIndex) => ({
      uuid,
      driverIndex,
      modelName: "NVIDIA H100 80GB HBM3",
      memoryMib: 81_920n,
      pciBusId: `00000000:0${driverIndex}:00.0`,
      driverVersion: "550.127.05",
    })),
  });
}

/** A registration of node-a, or of what `overrides` says. */
export function registerRequest(
  overrides: MessageInitShape<typeof NodeRegisterRequestSchema> = {},
) {
  return create(NodeRegisterRequestSchema, {
    nodeId: "node-a",
    nodeIncarnation: 1n,
    fingerprint: fingerprint(),
    agentVersion: "0.1.0",
    agentInstanceId: "instance-a",
    ...overrides,
  });
}

/** A measured sample of the fixture's host. */
export function hostSample(overrides: MessageInitShape<typeof HostSampleSchema> = {}) {
  return create(HostSampleSchema, {
    ageMs: 10,
    quality: Quality.MEASURED,
    cpuUtilizationPercent: 25,
    load1m: 1,
    load5m: 2,
    load15m: 3,
    memoryUsedMib: 16_000n,
    memoryAvailableMib: 48_000n,
    swapUsedMib: 0n,
    swapFreeMib: 8_000n,
    processesTotal: 200,
    processesRunning: 3,
    disks: [{ mountPoint: "/", usedMib: 40_000n, availableMib: 55_000n }],
    networkInterfaces: [{ name: "eth0", transmittedBytes: 1_000n, receivedBytes: 2_000n }],
    ...overrides,
  });
}

/** A measured sample of one GPU. */
export function gpuSample(uuid: string, overrides: MessageInitShape<typeof GpuSampleSchema> = {}) {
  return create(GpuSampleSchema, {
    uuid,
    ageMs: 5,
    quality: Quality.MEASURED,
    utilizationPercent: 50,
    memoryUtilizationPercent: 20,
    memoryUsedMib: 8_192n,
    memoryFreeMib: 73_728n,
    temperatureC: 40,
    powerW: 300,
    ...overrides,
  });
}

/** A health report with a readable kernel log; facts are XID 79 of GPU-1 where they do not say otherwise. */
export function healthReport(...facts: MessageInitShape<typeof HealthFactSchema>[]) {
  return create(HealthReportSchema, {
    kernelLog: Quality.MEASURED,
    facts: facts.map((fact) => ({ ...XID_79, ...fact })),
  });
}

const XID_79: MessageInitShape<typeof HealthFactSchema> = {
  factId: "boot-1/7",
  gpuUuid: "GPU-1",
  kind: "xid",
  healthClass: HealthClass.HARDWARE,
  code: 79,
  evidence: "NVRM: Xid (PCI:0000:41:00): 79, pid=1234, name=python, GPU has fallen off the bus.",
  ageMs: 1_000n,
  holds: false,
};

/** Resolves when the condition holds; rejects after `limitMs` with what was waited for. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limitMs = 10_000,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${limitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
