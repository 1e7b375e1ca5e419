import type { RecordedGpus } from "@berth/node-agent";
import {
  type GpuDetails,
  type GpuInfo,
  type GpuSample,
  type GpuTopology,
  GpuTopologySchema,
  Quality,
} from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { type IdSeed, uuidOf } from "./mixed-hash.ts";

/** Numbers that the ids of one GPU and its MIG parts are drawn by. */
const UUIDS_PER_GPU = 64;

/** One GPU of a simulated node. */
export interface NodeGpu {
  readonly info: GpuInfo;
  /** The reading that its samples drift from, without details. */
  readonly recorded: GpuSample;
  /** With the ids of this node's MIG parts; undefined where the recording has none. */
  readonly details: GpuDetails | undefined;
}

/**
 * The GPUs of one node: `count` of the recorded ones, from the first again when there are fewer, with ids
 * that are made of `seed`, a seed of the node's own, and stay the same over restarts. What they do not
 * differ in is shared between nodes.
 */
export function nodeGpus(recorded: RecordedGpus, count: number, seed: IdSeed): NodeGpu[] {
  const { inventory, samples } = recorded;
  return Array.from({ length: inventory.gpus.length === 0 ? 0 : count }, (_none, slot) => {
    const from = slot % inventory.gpus.length;
    const [model, sample] = [inventory.gpus[from], samples[from]];
    if (model === undefined || sample === undefined) throw new Error("the recording has no GPU");
    return nodeGpu({ model, sample, slot, round: Math.floor(slot / inventory.gpus.length) }, seed);
  });
}

function nodeGpu(
  from: { model: GpuInfo; sample: GpuSample; slot: number; round: number },
  seed: IdSeed,
): NodeGpu {
  const { model, sample, slot, round } = from;
  const uuid = `GPU-${uuidOf(seed, slot * UUIDS_PER_GPU)}`;
  // Behind the last recorded GPU the addresses begin anew in the next PCI domain.
  const pciBusId =
    round === 0 ? model.pciBusId : model.pciBusId.replace(/^[0-9A-Fa-f]+/, () => hex(round, 8));
  const ids = new Map<string, string>();
  const migDevices = model.migDevices.map((part) => {
    const own = `MIG-${uuidOf(seed, slot * UUIDS_PER_GPU + 1 + part.index)}`;
    ids.set(part.uuid, own);
    return { ...part, uuid: own };
  });
  const info: GpuInfo = {
    ...model,
    uuid,
    driverIndex: slot,
    minorNumber: slot,
    pciBusId,
    migDevices,
  };
  const { details, ...recorded } = sample;
  return { info, recorded, details: details && detailsFor(details, ids) };
}

function detailsFor(details: GpuDetails, ids: ReadonlyMap<string, string>): GpuDetails {
  return {
    ...details,
    quality: Quality.SIMULATED,
    // The recorded programs run on the machine that was recorded, and its load is not this one's.
    processes: [],
    throttleReasons: [],
    migDevices: details.migDevices.map((part) => ({
      ...part,
      uuid: ids.get(part.uuid) ?? part.uuid,
    })),
  };
}

/**
 * The topology of those GPUs of a node that are there: links as recorded, "SYS" between GPUs of different
 * rounds through the recording.
 */
export function nodeTopology(
  recorded: RecordedGpus,
  gpus: readonly NodeGpu[],
): GpuTopology | undefined {
  const { topology, gpus: models } = recorded.inventory;
  if (topology === undefined || models.length === 0) return undefined;
  const place = ({ info }: NodeGpu) => ({
    at: info.driverIndex % models.length,
    round: Math.floor(info.driverIndex / models.length),
  });
  return create(GpuTopologySchema, {
    nics: [...topology.nics],
    rows: gpus.map((gpu) => {
      const own = place(gpu);
      const row = topology.rows[own.at];
      const links = gpus.map((other) => {
        const far = place(other);
        return far.round === own.round ? (row?.links[far.at] ?? "") : "SYS";
      });
      const cards = row?.links.slice(models.length) ?? [];
      const { cpuAffinity = "", numaAffinity = "" } = row ?? {};
      return { uuid: gpu.info.uuid, links: [...links, ...cards], cpuAffinity, numaAffinity };
    }),
  });
}

function hex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, "0");
}
