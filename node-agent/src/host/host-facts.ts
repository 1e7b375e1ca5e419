import { readdir, readFile, stat } from "node:fs/promises";
import os from "node:os";
import {
  type CpuInfo,
  type DiskInfo,
  FingerprintSchema,
  type NetworkInterfaceInfo,
} from "@berth/proto";
import { create, equals } from "@bufbuild/protobuf";
import si from "systeminformation";
import type { HostFacts } from "./host-source.ts";
import type { MountProbe } from "./mount-probe.ts";
import { localMounts, prettyName } from "./proc-text.ts";
import { within } from "./within.ts";

const MIB = 1_048_576;
const READ_LIMIT_MS = 3_000;
const CPU_LIMIT_MS = 5_000;
const MAX_LISTED = 256;

/** A file system that shares its pool (ZFS) changes its size with every file; less than this is none. */
const SIZE_NOISE = 0.05;

type Plain<T> = Omit<T, "$typeName" | "$unknown">;

/**
 * Reads the static facts of this machine. Never rejects: what cannot be read (other system, container,
 * missing tool, dead disk) is absent or comes from the runtime, and no read is waited for longer than
 * 5 s. systeminformation's osInfo, fsSize and networkInterfaces are not used: they run `hostname -f`,
 * `df` and `nmcli` per interface, some of them synchronously, and can block for as long as a name
 * server or a network disk does.
 */
export class HostFactsReader {
  readonly #mounts: MountProbe;
  #readsInterfaces = false;

  constructor(mounts: MountProbe) {
    this.#mounts = mounts;
  }

  /** All facts; systeminformation's `cpu` starts programs, so this is for the start only. */
  async read(): Promise<HostFacts> {
    const [osRelease, cpu, memory, disks, networkInterfaces] = await Promise.all([
      within(readFile("/etc/os-release", "utf8"), READ_LIMIT_MS),
      readCpu(),
      within(si.mem(), READ_LIMIT_MS),
      this.#readDisks([]),
      this.#readInterfaces(),
    ]);
    const message = create(FingerprintSchema, {
      hostname: os.hostname(),
      osRelease: prettyName(osRelease ?? "") ?? os.type(),
      kernelRelease: os.release(),
      architecture: os.machine(),
      memoryMib: BigInt(Math.floor((memory?.total ?? os.totalmem()) / MIB)),
      swapMib: BigInt(Math.floor((memory?.swaptotal ?? 0) / MIB)),
      cpu,
      disks,
      networkInterfaces: networkInterfaces ?? [],
    });
    return pickFacts(message);
  }

  /** The facts after another look at disks and network interfaces; `before` itself when nothing changed. */
  async refresh(before: HostFacts): Promise<HostFacts> {
    const [disks, networkInterfaces] = await Promise.all([
      this.#readDisks(before.disks),
      this.#readInterfaces(),
    ]);
    const message = create(FingerprintSchema, {
      ...before,
      disks,
      networkInterfaces: networkInterfaces ?? before.networkInterfaces,
    });
    const isSame = equals(FingerprintSchema, message, create(FingerprintSchema, before));
    return isSame ? before : pickFacts(message);
  }

  async #readDisks(before: readonly DiskInfo[]): Promise<Plain<DiskInfo>[]> {
    const text = await within(readFile("/proc/mounts", "utf8"), READ_LIMIT_MS);
    if (text === undefined) return [...before];
    const mounts = localMounts(text).slice(0, MAX_LISTED);
    const spaces = await this.#mounts.read(mounts.map(({ mountPoint }) => mountPoint));
    return mounts.flatMap((mount, index) => {
      const known = before.find(
        ({ mountPoint, device }) => mountPoint === mount.mountPoint && device === mount.device,
      );
      const space = spaces[index];
      // A disk that does not answer is still mounted.
      if (space === undefined) return known === undefined ? [] : [known];
      // A container sees single files bound from the host's disk (/etc/hosts); those are no disks of it.
      if (!space.isDirectory || space.totalBytes === 0) return [];
      const sizeMib = BigInt(Math.floor(space.totalBytes / MIB));
      return [{ ...mount, sizeMib: steadySize(known?.sizeMib, sizeMib) }];
    });
  }

  /** Undefined while an earlier look has not come back: a network card may block who asks for its speed. */
  async #readInterfaces(): Promise<Plain<NetworkInterfaceInfo>[] | undefined> {
    if (this.#readsInterfaces) return undefined;
    this.#readsInterfaces = true;
    const reading = readNetworkInterfaces().finally(() => {
      this.#readsInterfaces = false;
    });
    return within(reading, READ_LIMIT_MS);
  }
}

function steadySize(before: bigint | undefined, now: bigint): bigint {
  if (before === undefined) return now;
  const change = Math.abs(Number(now - before)) / Math.max(1, Number(before));
  return change < SIZE_NOISE ? before : now;
}

/** Leaves out the rest of the message, above all its type name: this is only a part of one. */
function pickFacts(message: HostFacts): HostFacts {
  const { hostname, osRelease, kernelRelease, architecture, cpu } = message;
  const { memoryMib, swapMib, disks, networkInterfaces } = message;
  const names = { hostname, osRelease, kernelRelease, architecture };
  return { ...names, cpu, memoryMib, swapMib, disks, networkInterfaces };
}

async function readCpu(): Promise<Plain<CpuInfo>> {
  const cpu = await within(si.cpu(), CPU_LIMIT_MS);
  const processors = os.cpus();
  const name = processors[0]?.model.trim() ?? "";
  const listed = [cpu?.manufacturer, cpu?.brand].filter(Boolean).join(" ");
  return {
    modelName: name === "" || name === "unknown" ? listed : name,
    logicalCores: Math.max(processors.length, cpu?.cores ?? 0),
    physicalCores: cpu?.physicalCores ?? 0,
  };
}

/** Reads one after the other, so that a card that blocks holds one thread of libuv's pool only. */
async function readNetworkInterfaces(): Promise<Plain<NetworkInterfaceInfo>[]> {
  const names = await readdir("/sys/class/net").catch(() => []);
  const found: Plain<NetworkInterfaceInfo>[] = [];
  for (const name of names.sort().slice(0, MAX_LISTED)) {
    const one = await readNetworkInterface(name);
    if (one !== undefined) found.push(one);
  }
  return found;
}

async function readNetworkInterface(name: string) {
  const folder = `/sys/class/net/${name}`;
  // Only an interface with a device behind it has this link; loopback, bridges and veth pairs do not.
  const device = await stat(`${folder}/device`).catch(() => undefined);
  if (device === undefined) return undefined;
  const text = await readFile(`${folder}/speed`, "utf8").catch(() => "");
  const speedMbps = Number(text.trim());
  // The kernel says -1 where the driver does not know.
  return Number.isInteger(speedMbps) && speedMbps > 0 ? { name, speedMbps } : { name };
}
