import type { InstanceSpec } from "../runtime.ts";

/**
 * How instances get GPUs. "exclusive": Berth owns the node's GPUs and names them in the environment; Kubernetes does not
 * count them. "counted": the device plugin hands out as many as are asked for, whichever it likes.
 */
export type GpuBinding = "exclusive" | "counted";

/** The ways of binding, for settings. */
export const GPU_BINDINGS = ["exclusive", "counted"] as const;

/** The extended resource of NVIDIA's device plugin. */
export const GPU_RESOURCE = "nvidia.com/gpu";

type Devices = Pick<InstanceSpec, "devices">;

/** Variables about GPUs of an instance's container. Without GPUs the NVIDIA runtime would show it all of the node. */
export function gpuVariables({ devices }: Devices, binding: GpuBinding): Record<string, string> {
  if (devices.length === 0) return { CUDA_VISIBLE_DEVICES: "", NVIDIA_VISIBLE_DEVICES: "void" };
  if (binding === "counted") return {};
  const uuids = devices.map(({ uuid }) => uuid).join(",");
  return {
    CUDA_VISIBLE_DEVICES: uuids,
    NVIDIA_VISIBLE_DEVICES: uuids,
    NVIDIA_DRIVER_CAPABILITIES: "all",
  };
}

/** An environment without what would decide about GPUs: a component's own word would show it GPUs of others. */
export function withoutGpuVariables(env: Readonly<Record<string, string>>): Record<string, string> {
  const names = ["CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"];
  return Object.fromEntries(Object.entries(env).filter(([name]) => !names.includes(name)));
}

/** GPUs as Kubernetes is to count them. */
export function gpuLimits({ devices }: Devices, binding: GpuBinding): Record<string, string> {
  if (devices.length === 0 || binding === "exclusive") return {};
  return { [GPU_RESOURCE]: String(devices.length) };
}

/** Why an instance cannot have its devices with a binding; undefined when it can. */
export function deviceRefusal({ devices }: Devices, binding: GpuBinding): string | undefined {
  const odd = devices.find(({ uuid }) => !/^[a-zA-Z0-9./_-]{1,128}$/.test(uuid));
  if (odd !== undefined) {
    return `devices: expected UUIDs of GPUs, got ${JSON.stringify(odd.uuid.slice(0, 80))}`;
  }
  const part = devices.find(({ uuid, isShared }) => isShared === true || uuid.startsWith("MIG-"));
  if (binding === "exclusive" || part === undefined) return undefined;
  return `devices: a part of ${part.uuid} was assigned, and this cluster's GPUs are counted whole (BERTH_KUBERNETES_GPU_BINDING=counted)`;
}
