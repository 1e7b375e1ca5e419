import { readFile } from "node:fs/promises";
import { type RecordedGpus, recordedGpus } from "@berth/node-agent";

/** Machines that a simulated node can be; `mixed` takes another one for each cluster. */
export const PROFILES = ["h100", "a100-mig", "t4", "mixed"] as const;

/** One of {@link PROFILES}. */
export type ProfileName = (typeof PROFILES)[number];

/** The kinds of machines. */
export const MACHINES = ["h100", "a100-mig", "t4"] as const;

/** One of {@link MACHINES}. */
export type MachineName = (typeof MACHINES)[number];

/** The host around the GPUs of a machine. */
export interface HostProfile {
  readonly cpuModel: string;
  readonly logicalCores: number;
  readonly physicalCores: number;
  readonly memoryMiB: number;
  readonly diskMiB: number;
  readonly networkMbps: number;
}

/** A kind of machine: read once, shared by all nodes of that kind. */
export interface MachineProfile {
  readonly name: MachineName;
  readonly gpus: RecordedGpus;
  readonly host: HostProfile;
}

const RECORDINGS = new URL("../../../examples/nvidia-smi/", import.meta.url);

const HOSTS: Readonly<Record<MachineName, HostProfile>> = {
  h100: {
    cpuModel: "Intel Xeon Platinum 8480C",
    logicalCores: 224,
    physicalCores: 112,
    memoryMiB: 2_097_152,
    diskMiB: 28_000_000,
    networkMbps: 400_000,
  },
  "a100-mig": {
    cpuModel: "AMD EPYC 7742",
    logicalCores: 128,
    physicalCores: 64,
    memoryMiB: 1_048_576,
    diskMiB: 14_000_000,
    networkMbps: 200_000,
  },
  t4: {
    cpuModel: "Intel Xeon Platinum 8259CL",
    logicalCores: 16,
    physicalCores: 8,
    memoryMiB: 65_536,
    diskMiB: 500_000,
    networkMbps: 25_000,
  },
};

/** Kind of machine of the cluster with this number. */
export function machineOf(profile: ProfileName, cluster: number): MachineName {
  if (profile !== "mixed") return profile;
  return MACHINES[cluster % MACHINES.length] ?? "h100";
}

/** Reads the recording of a kind of machine; rejects when a file of it is missing. */
export async function loadMachine(name: MachineName): Promise<MachineProfile> {
  const read = (file: string) => readFile(new URL(`${name}/${file}`, RECORDINGS), "utf8");
  const [csv, xml, topo, list] = await Promise.all([
    read("query.csv"),
    read("query.xml"),
    read("topo.txt"),
    read("list.txt"),
  ]);
  return { name, gpus: recordedGpus({ csv, xml, topo, list }), host: HOSTS[name] };
}
