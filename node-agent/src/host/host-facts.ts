import { readdir, readFile, stat, statfs } from "node:fs/promises";
import os from "node:os";
import {
  type CpuInfo,
  type DiskInfo,
  FingerprintSchema,
  type NetworkInterfaceInfo,
} from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import si from "systeminformation";
import type { HostFacts } from "./host-source.ts";
import { localMounts, type Mount, prettyName } from "./proc-text.ts";
import { within } from "./within.ts";

const MIB = 1_048_576;
const READ_LIMIT_MS = 3_000;
const CPU_LIMIT_MS = 5_000;
const MAX_LISTED = 256;

/**
 * Reads the static facts of this machine. Never rejects: what cannot be read (other system, container,
 * missing tool, dead disk) is absent or comes from the runtime, and no read is waited for longer than
 * 5 s. systeminformation's osInfo, fsSize and networkInterfaces are not used: they run `hostname -f`,
 * `df` and `nmcli` per interface, some of them synchronously, and can block for as long as a name
 * server or a network disk does.
 */
export async function readHostFacts(): Promise<HostFacts> {
  const [osRelease, cpu, memory, disks, networkInterfaces] = await Promise.all([
    within(readFile("/etc/os-release", "utf8"), READ_LIMIT_MS),
    readCpu(),
    within(si.mem(), READ_LIMIT_MS),
    readDisks(),
    readNetworkInterfaces(),
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
    networkInterfaces,
  });
  return pickFacts(message);
}

/** Leaves out the rest of the message, above all its type name: this is only a part of one. */
function pickFacts(message: HostFacts): HostFacts {
  const { hostname, osRelease, kernelRelease, architecture, cpu } = message;
  const { memoryMib, swapMib, disks, networkInterfaces } = message;
  const names = { hostname, osRelease, kernelRelease, architecture };
  return { ...names, cpu, memoryMib, swapMib, disks, networkInterfaces };
}

async function readCpu(): Promise<Omit<CpuInfo, "$typeName" | "$unknown">> {
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

async function readDisks(): Promise<Omit<DiskInfo, "$typeName" | "$unknown">[]> {
  const text = await within(readFile("/proc/mounts", "utf8"), READ_LIMIT_MS);
  const mounts = localMounts(text ?? "").slice(0, MAX_LISTED);
  const disks = await Promise.all(mounts.map(readDisk));
  return disks.filter((disk) => disk !== undefined);
}

async function readDisk(mount: Mount) {
  // A container sees single files bound from the host's disk (/etc/hosts); those are no disks of it.
  const entry = await within(stat(mount.mountPoint), READ_LIMIT_MS);
  if (entry?.isDirectory() !== true) return undefined;
  const found = await within(statfs(mount.mountPoint), READ_LIMIT_MS);
  if (found === undefined || found.blocks === 0) return undefined;
  return { ...mount, sizeMib: BigInt(Math.floor((found.blocks * found.bsize) / MIB)) };
}

async function readNetworkInterfaces(): Promise<
  Omit<NetworkInterfaceInfo, "$typeName" | "$unknown">[]
> {
  const names = (await within(readdir("/sys/class/net"), READ_LIMIT_MS)) ?? [];
  const found = await Promise.all(names.sort().map(readNetworkInterface));
  return found.filter((one) => one !== undefined).slice(0, MAX_LISTED);
}

async function readNetworkInterface(name: string) {
  const folder = `/sys/class/net/${name}`;
  // Only an interface with a device behind it has this link; loopback, bridges and veth pairs do not.
  if ((await within(stat(`${folder}/device`), READ_LIMIT_MS)) === undefined) return undefined;
  const text = await within(readFile(`${folder}/speed`, "utf8"), READ_LIMIT_MS);
  const speedMbps = Number(text?.trim());
  // The kernel says -1 where the driver does not know.
  return Number.isInteger(speedMbps) && speedMbps > 0 ? { name, speedMbps } : { name };
}
