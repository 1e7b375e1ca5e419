import type { DeviceClaim, GpuCapacity, LedgerRefusal } from "./claim.ts";
import { holdName, refused } from "./claim-shape.ts";
import { type DevicePlace, type DeviceUse, type GpuUse, gpuUse, type NodeUse } from "./node-use.ts";

/** Why a device cannot be claimed so now; undefined when it can. */
export function deviceRefusal(use: NodeUse, device: DeviceClaim): LedgerRefusal | undefined {
  const { uuid } = device;
  const place = use.places.get(uuid);
  const { nodeId } = use.capacity;
  if (place === undefined) {
    return refused("unknown_device", `node ${nodeId} has no device ${uuid}`, [uuid]);
  }
  const says = (reason: LedgerRefusal["reason"], what: string) =>
    refused(reason, `node ${nodeId}: ${deviceName(place)} ${what}`, [uuid]);
  const { gpu, part } = place;
  if (gpu.refusal !== undefined) return says("device_refuses", `may not be taken: ${gpu.refusal}`);
  const rule = ruleProblem(place, device);
  if (rule !== undefined) return says(...rule);
  const used = gpuUse(use, gpu);
  if (part !== undefined) {
    const users = [...used.own, ...(use.uses.get(uuid) ?? [])];
    return users.length === 0 ? undefined : says("taken", heldBy(users));
  }
  if (device.memoryMiB === undefined) {
    const users = [...used.own, ...used.parts];
    return users.length === 0 ? undefined : says("taken", heldBy(users));
  }
  const problem = shareProblem(gpu, used, device.memoryMiB);
  return problem && says(...problem);
}

/** "GPU 3 (GPU-…)", "MIG device MIG-… of GPU 3 (GPU-…)". */
export function deviceName({ gpu, part }: DevicePlace): string {
  const name = `GPU ${gpu.slot} (${gpu.uuid})`;
  return part === undefined ? name : `MIG device ${part.uuid} of ${name}`;
}

type Problem = readonly [LedgerRefusal["reason"], string];

/** What can never be claimed of a device, whoever holds it. */
function ruleProblem({ gpu, part }: DevicePlace, device: DeviceClaim): Problem | undefined {
  const isShare = device.memoryMiB !== undefined;
  if (part !== undefined) {
    return isShare ? ["invalid", "can only be taken whole, not by memory"] : undefined;
  }
  if (gpu.migEnabled) return ["device_refuses", "is cut up by MIG: only its parts can be taken"];
  if (isShare && gpu.memoryMiB <= 0) {
    return ["device_refuses", "can only be taken whole: its memory is not known"];
  }
  return undefined;
}

function shareProblem(gpu: GpuCapacity, used: GpuUse, askedMiB: number): Problem | undefined {
  const whole = [...used.own.filter(({ memoryMiB }) => memoryMiB === undefined), ...used.parts];
  if (whole.length > 0) return ["taken", heldBy(whole)];
  const takenMiB = used.own.reduce((sum, { memoryMiB = 0 }) => sum + memoryMiB, 0);
  if (takenMiB + askedMiB <= gpu.memoryMiB) return undefined;
  const free = `has ${Math.max(0, gpu.memoryMiB - takenMiB)} of ${gpu.memoryMiB} MiB free`;
  const others = used.own.length === 0 ? "" : `; it ${heldBy(used.own)}`;
  return ["not_enough", `${free}, ${askedMiB} were asked for${others}`];
}

/** Holders that a message names at most. */
const NAMED = 3;

function heldBy(users: readonly DeviceUse[]): string {
  const names = [...new Set(users.map(({ hold }) => holdName(hold)))];
  const more = names.length > NAMED ? ` and ${names.length - NAMED} more` : "";
  return `is held by ${names.slice(0, NAMED).join(", ")}${more}`;
}
