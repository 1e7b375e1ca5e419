import { readdir, readFile } from "node:fs/promises";
import os from "node:os";
import { type HostSample, HostSampleSchema, Quality } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import si from "systeminformation";
import type { HostFacts } from "./host-source.ts";
import { MountProbe } from "./mount-probe.ts";
import { type CpuTicks, cpuUtilizationPercent, parseNetDev, parseProcStat } from "./proc-text.ts";
import { within } from "./within.ts";

const MIB = 1_048_576;
const READ_LIMIT_MS = 2_000;

/**
 * Reads the dynamic state of this machine. It spawns nothing: systeminformation's `mem` reads one
 * file; its `currentLoad` and `networkStats` run programs, so those two come from /proc directly.
 */
export class HostSampler {
  readonly #mounts: MountProbe;
  #ticks: CpuTicks | undefined;

  constructor(mounts: MountProbe = new MountProbe()) {
    this.#mounts = mounts;
  }

  /** One reading; never rejects, takes at most about 2 s. What cannot be read is absent. */
  async read(facts: Pick<HostFacts, "disks" | "networkInterfaces">): Promise<HostSample> {
    const [stat, memory, processes, disks, networkInterfaces] = await Promise.all([
      this.#readStat(),
      within(si.mem(), READ_LIMIT_MS),
      countProcesses(),
      this.#readDisks(facts.disks),
      readNetwork(facts.networkInterfaces),
    ]);
    const readable = stat !== undefined || memory !== undefined;
    const [load1m, load5m, load15m] = os.loadavg();
    return create(HostSampleSchema, {
      quality: readable ? Quality.MEASURED : Quality.UNAVAILABLE,
      ...stat,
      ...(processes === undefined ? {} : { processesTotal: processes }),
      ...(load1m === undefined ? {} : { load1m }),
      ...(load5m === undefined ? {} : { load5m }),
      ...(load15m === undefined ? {} : { load15m }),
      ...(memory === undefined ? {} : memoryOf(memory)),
      disks,
      networkInterfaces,
    });
  }

  async #readStat() {
    const text = await within(readFile("/proc/stat", "utf8"), READ_LIMIT_MS);
    const stat = parseProcStat(text ?? "");
    if (stat === undefined) return undefined;
    const before = this.#ticks;
    this.#ticks = stat.cpu;
    const percent = before === undefined ? undefined : cpuUtilizationPercent(before, stat.cpu);
    return {
      ...(percent === undefined ? {} : { cpuUtilizationPercent: percent }),
      ...(stat.running === undefined ? {} : { processesRunning: stat.running }),
    };
  }

  async #readDisks(disks: HostFacts["disks"]) {
    const mountPoints = disks.map(({ mountPoint }) => mountPoint);
    const spaces = await this.#mounts.read(mountPoints);
    return mountPoints.flatMap((mountPoint, index) => {
      const space = spaces[index];
      if (space === undefined) return [];
      const usedMib = mebibytes(space.totalBytes - space.freeBytes);
      return [{ mountPoint, usedMib, availableMib: mebibytes(space.availableBytes) }];
    });
  }
}

function memoryOf(memory: si.Systeminformation.MemData) {
  return {
    memoryUsedMib: mebibytes(memory.total - memory.available),
    memoryAvailableMib: mebibytes(memory.available),
    swapUsedMib: mebibytes(memory.swapused),
    swapFreeMib: mebibytes(memory.swapfree),
  };
}

async function countProcesses(): Promise<number | undefined> {
  const entries = await within(readdir("/proc"), READ_LIMIT_MS);
  return entries?.filter((entry) => /^\d+$/.test(entry)).length;
}

async function readNetwork(interfaces: HostFacts["networkInterfaces"]) {
  const text = await within(readFile("/proc/net/dev", "utf8"), READ_LIMIT_MS);
  const links = parseNetDev(text ?? "");
  return interfaces.flatMap(({ name }) => {
    const counters = links.get(name);
    return counters === undefined ? [] : [{ name, ...counters }];
  });
}

function mebibytes(bytes: number): bigint {
  return BigInt(Math.max(0, Math.floor(bytes / MIB)));
}
