import type { GpuState } from "@berth/proto";
import { isUnavailable, type NodeView } from "../nodes/node-view.ts";

/**
 * What the GPU in a slot can be used for: free on a live node when the driver lists the device and its
 * telemetry does not say that it cannot be reached; unhealthy otherwise.
 */
export function gpuState(node: NodeView, uuid: string): GpuState {
  if (node.liveness !== "live") return "unhealthy";
  if (!node.inventory.gpus.some((gpu) => gpu.uuid === uuid)) return "unhealthy";
  return isUnavailable(node.gpus.get(uuid)?.reading) ? "unhealthy" : "free";
}

/** Number of free GPUs of a node. */
export function freeGpus(node: NodeView): number {
  return node.slots.filter((slot) => gpuState(node, slot.uuid) === "free").length;
}
