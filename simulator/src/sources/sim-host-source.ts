import type { HostEvent, HostFacts, HostSource } from "@berth/node-agent";
import { FingerprintSchema, type HostSample, HostSampleSchema, Quality } from "@berth/proto";
import type { Clock } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import { type LoadPattern, loadAt } from "./load-pattern.ts";
import type { HostProfile } from "./profile.ts";
import type { Wheel } from "./wheel.ts";

/** What a {@link SimHostSource} works with. */
export interface SimHostOptions {
  readonly hostname: string;
  readonly host: HostProfile;
  /** The load of the moment. */
  readonly pattern: () => LoadPattern;
  readonly seed: number;
  readonly clock: Clock;
  readonly wheel: Wheel;
  readonly phaseMs: number;
  /** Start of the simulation on the clock. */
  readonly bornMs: number;
}

const MOUNT = "/";
const INTERFACE = "eth0";

/** A host that exists only on paper: fixed facts, samples that drift by a seed. */
export class SimHostSource implements HostSource {
  readonly name = "simulated host";
  readonly ready: Promise<void> = Promise.resolve();
  readonly #options: SimHostOptions;
  readonly #facts: HostFacts;
  readonly #listeners = new Set<(event: HostEvent) => void>();
  #intervalMs = 0;
  #sampledAtMs: number;
  #leave: () => void = () => undefined;

  constructor(options: SimHostOptions) {
    this.#options = options;
    this.#facts = hostFacts(options);
    this.#sampledAtMs = options.clock.nowMs();
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    this.#leave();
    this.#listeners.clear();
  }

  facts(): HostFacts {
    return this.#facts;
  }

  sample(): HostSample {
    const { pattern, seed, host, clock, bornMs } = this.#options;
    const sinceMs = this.#sampledAtMs - bornMs;
    const sample = hostReading(host, { pattern: pattern(), seed, atMs: sinceMs });
    sample.ageMs = Math.max(0, Math.round(clock.nowMs() - this.#sampledAtMs));
    return sample;
  }

  setIntervalMs(intervalMs: number): void {
    if (intervalMs === this.#intervalMs) return;
    const { wheel, phaseMs, clock } = this.#options;
    this.#intervalMs = intervalMs;
    this.#leave();
    this.#leave = wheel.every(intervalMs, phaseMs, () => {
      this.#sampledAtMs = clock.nowMs();
      for (const listener of [...this.#listeners]) listener("sample");
    });
  }

  subscribe(listener: (event: HostEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

function hostFacts({ hostname, host }: SimHostOptions): HostFacts {
  const { logicalCores, physicalCores, cpuModel: modelName, networkMbps: speedMbps } = host;
  const sizeMib = BigInt(host.diskMiB);
  const message = create(FingerprintSchema, {
    hostname,
    osRelease: "Berth simulator",
    kernelRelease: "6.1.0-simulated",
    architecture: "x86_64",
    cpu: { modelName, logicalCores, physicalCores },
    memoryMib: BigInt(host.memoryMiB),
    disks: [{ device: "/dev/nvme0n1", mountPoint: MOUNT, fileSystem: "ext4", sizeMib }],
    networkInterfaces: [{ name: INTERFACE, speedMbps }],
    simulated: true,
  });
  const { $typeName: _name, identity: _identity, gpus: _gpus, ...facts } = message;
  return facts;
}

function hostReading(
  host: HostProfile,
  { pattern, seed, atMs }: { pattern: LoadPattern; seed: number; atMs: number },
): HostSample {
  const { compute, memory } = loadAt(pattern, seed, atMs);
  const usedMiB = Math.round(host.memoryMiB * (0.05 + 0.7 * memory));
  const diskUsedMiB = Math.round(host.diskMiB * 0.35);
  const load = compute * host.logicalCores * 0.5;
  const bytes = BigInt(Math.round(atMs * host.networkMbps * 0.02));
  return create(HostSampleSchema, {
    quality: Quality.SIMULATED,
    cpuUtilizationPercent: Math.round(compute * 500) / 10,
    load1m: load,
    load5m: load * 0.95,
    load15m: load * 0.9,
    memoryUsedMib: BigInt(usedMiB),
    memoryAvailableMib: BigInt(host.memoryMiB - usedMiB),
    swapUsedMib: 0n,
    swapFreeMib: 0n,
    processesTotal: 400 + Math.round(100 * compute),
    processesRunning: 1 + Math.round(8 * compute),
    disks: [
      {
        mountPoint: MOUNT,
        usedMib: BigInt(diskUsedMiB),
        availableMib: BigInt(host.diskMiB - diskUsedMiB),
      },
    ],
    networkInterfaces: [{ name: INTERFACE, transmittedBytes: bytes, receivedBytes: bytes }],
  });
}
