import type { NodeUse } from "./node-use.ts";

/** Holds that take more of a device together than there is. */
export interface Collision {
  /** GPU or MIG device. */
  readonly deviceUuid: string;
  readonly holdIds: readonly string[];
}

interface Share {
  readonly id: string;
  readonly memoryMiB: number | undefined;
}

/** Devices of a node that are held more than once. */
export function collisions(use: NodeUse): readonly Collision[] {
  const found: Collision[] = [];
  const add = (deviceUuid: string, shares: readonly Share[]) => {
    found.push({ deviceUuid, holdIds: [...new Set(shares.map(({ id }) => id))] });
  };
  for (const [gpuUuid, { own, parts }] of byGpu(use)) {
    const all = [...own, ...parts.values().toArray().flat()];
    if (own.length > 0 && parts.size > 0) add(gpuUuid, all);
    else if (isOverheld(own, use.places.get(gpuUuid)?.gpu.memoryMiB ?? 0)) add(gpuUuid, own);
    for (const [uuid, shares] of parts) if (shares.length > 1) add(uuid, shares);
  }
  return found;
}

/** Whether holds of one GPU take more than it has; memory that is not known is enough for shares. */
function isOverheld(own: readonly Share[], gpuMiB: number): boolean {
  if (own.length < 2 && own[0]?.memoryMiB === undefined) return false;
  if (own.some(({ memoryMiB }) => memoryMiB === undefined)) return true;
  const takenMiB = own.reduce((sum, { memoryMiB = 0 }) => sum + memoryMiB, 0);
  return gpuMiB > 0 && takenMiB > gpuMiB;
}

function byGpu({ uses, places, parents }: NodeUse) {
  const gpus = new Map<string, { own: Share[]; parts: Map<string, Share[]> }>();
  for (const [uuid, users] of uses) {
    const gpuUuid = places.get(uuid)?.gpu.uuid ?? parents.get(uuid) ?? uuid;
    const gpu = gpus.get(gpuUuid) ?? { own: [], parts: new Map<string, Share[]>() };
    gpus.set(gpuUuid, gpu);
    const shares = users.map(({ hold, memoryMiB }) => ({ id: hold.id, memoryMiB }));
    if (uuid === gpuUuid) gpu.own.push(...shares);
    else gpu.parts.set(uuid, shares);
  }
  return gpus;
}
