import type { GpuCapacity, Hold, NodeCapacity } from "./claim.ts";

/** A MIG device as the capacity has it. */
export type MigDevice = GpuCapacity["migDevices"][number];

/** Where a UUID is on its node. */
export interface DevicePlace {
  readonly gpu: GpuCapacity;
  /** Undefined for the GPU itself. */
  readonly part: MigDevice | undefined;
}

/** A hold's share of one device. */
export interface DeviceUse {
  readonly hold: Hold;
  /** UUID that the hold names. */
  readonly uuid: string;
  /** Undefined = the whole device. */
  readonly memoryMiB: number | undefined;
}

/** What uses one GPU. */
export interface GpuUse {
  /** Holds of the GPU itself, whole or by memory. */
  readonly own: readonly DeviceUse[];
  /** Holds of parts that MIG has cut it into, or once had. */
  readonly parts: readonly DeviceUse[];
}

/** UUIDs of GPUs by those of the MIG devices that are, or were, cut from them. */
export type MigParents = ReadonlyMap<string, string>;

/** What is asked of {@link nodeUse}. */
export interface NodeUseOptions {
  readonly capacity: NodeCapacity;
  readonly holds: Iterable<Hold>;
  /** Of MIG devices that are held and that the capacity may not name any more. */
  readonly parents?: MigParents;
}

/** A node's capacity with its holds by device. */
export interface NodeUse {
  readonly capacity: NodeCapacity;
  readonly places: ReadonlyMap<string, DevicePlace>;
  /** Uses by the UUID that the hold names. */
  readonly uses: ReadonlyMap<string, readonly DeviceUse[]>;
  readonly taken: {
    readonly cpuMillis: number;
    readonly memoryMiB: number;
    readonly storageMiB: number;
  };
  readonly parents: MigParents;
}

/** Sorts the holds of a node by what they take. */
export function nodeUse({ capacity, holds, parents = new Map() }: NodeUseOptions): NodeUse {
  const uses = new Map<string, DeviceUse[]>();
  const taken = { cpuMillis: 0, memoryMiB: 0, storageMiB: 0 };
  for (const hold of holds) {
    taken.cpuMillis += hold.claim.cpuMillis;
    taken.memoryMiB += hold.claim.memoryMiB;
    taken.storageMiB += hold.claim.storageMiB;
    for (const { uuid, memoryMiB } of hold.claim.devices) {
      const use: DeviceUse = { hold, uuid, memoryMiB };
      const known = uses.get(uuid);
      if (known === undefined) uses.set(uuid, [use]);
      else known.push(use);
    }
  }
  return { capacity, places: placesOf(capacity), uses, taken, parents };
}

/** What uses a GPU: itself, its parts, and parts of it that are held although they are not reported any more. */
export function gpuUse({ places, uses, parents }: NodeUse, gpu: GpuCapacity): GpuUse {
  const parts: DeviceUse[] = [];
  for (const [uuid, users] of uses) {
    const gpuUuid = places.get(uuid)?.gpu.uuid ?? parents.get(uuid);
    if (uuid !== gpu.uuid && gpuUuid === gpu.uuid) parts.push(...users);
  }
  return { own: uses.get(gpu.uuid) ?? [], parts };
}

/** The GPUs of the MIG devices that holds name: from the capacity, or as it was known before. */
export function migParents(
  { places, uses }: Pick<NodeUse, "places" | "uses">,
  former: MigParents,
): MigParents {
  const parents = new Map<string, string>();
  for (const uuid of uses.keys()) {
    const place = places.get(uuid);
    const parent = place === undefined ? former.get(uuid) : place.part && place.gpu.uuid;
    if (parent !== undefined) parents.set(uuid, parent);
  }
  return parents;
}

function placesOf(capacity: NodeCapacity): ReadonlyMap<string, DevicePlace> {
  const places = new Map<string, DevicePlace>();
  for (const gpu of capacity.gpus) {
    places.set(gpu.uuid, { gpu, part: undefined });
    for (const part of gpu.migDevices) places.set(part.uuid, { gpu, part });
  }
  return places;
}
