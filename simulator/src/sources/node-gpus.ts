import type { RecordedGpus } from "@berth/node-agent";
import {
  type GpuDetails,
  GpuDetailsSchema,
  type GpuInfo,
  GpuInfoSchema,
  type GpuSample,
  type GpuTopology,
  GpuTopologySchema,
  Quality,
} from "@berth/proto";
import { clone, create } from "@bufbuild/protobuf";
import { uuidOf } from "./mixed-hash.ts";

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
 * that are made of `key` and stay the same over restarts.
 */
export function nodeGpus(recorded: RecordedGpus, count: number, key: string): NodeGpu[] {
  const { inventory, samples } = recorded;
  return Array.from({ length: inventory.gpus.length === 0 ? 0 : count }, (_none, slot) => {
    const from = slot % inventory.gpus.length;
    const [model, sample] = [inventory.gpus[from], samples[from]];
    if (model === undefined || sample === undefined) throw new Error("the recording has no GPU");
    return nodeGpu({ model, sample, slot, round: Math.floor(slot / inventory.gpus.length) }, key);
  });
}

function nodeGpu(
  from: { model: GpuInfo; sample: GpuSample; slot: number; round: number },
  key: string,
): NodeGpu {
  const { model, sample, slot, round } = from;
  const info = clone(GpuInfoSchema, model);
  info.uuid = `GPU-${uuidOf(`${key}/gpu/${slot}`)}`;
  info.driverIndex = slot;
  info.minorNumber = slot;
  // Behind the last recorded GPU the addresses begin anew in the next PCI domain.
  info.pciBusId = info.pciBusId.replace(/^[0-9A-Fa-f]+/, () => hex(round, 8));
  const ids = new Map<string, string>();
  for (const part of info.migDevices) {
    const own = `MIG-${uuidOf(`${key}/gpu/${slot}/mig/${part.index}`)}`;
    ids.set(part.uuid, own);
    part.uuid = own;
  }
  const { details, ...recorded } = sample;
  return { info, recorded, details: detailsFor(details, ids) };
}

function detailsFor(
  details: GpuDetails | undefined,
  ids: ReadonlyMap<string, string>,
): GpuDetails | undefined {
  if (details === undefined) return undefined;
  const own = clone(GpuDetailsSchema, details);
  own.quality = Quality.SIMULATED;
  // The recorded programs run on the machine that was recorded.
  own.processes = [];
  for (const part of own.migDevices) part.uuid = ids.get(part.uuid) ?? part.uuid;
  return own;
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
