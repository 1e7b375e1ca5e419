import type { Reason } from "@berth/service-kit";
import type { ApplyOutcome, BlockSpec, InstanceSpec } from "../runtime.ts";
import { deviceRefusal, type GpuBinding } from "./gpu-binding.ts";
import { isImageReference } from "./image-reference.ts";
import { blockIdRefusal, instanceIdRefusal, nodeIdRefusal } from "./object-names.ts";

/** Why a program can never run as a container; undefined when it can. */
export function programRefusal({ image }: Pick<InstanceSpec, "image">): string | undefined {
  if (image === undefined) {
    return "this cluster runs containers: the component names no image; give component.containerRegistryInfo.containerImage";
  }
  if (isImageReference(image)) return undefined;
  return `component.containerRegistryInfo.containerImage: expected a reference such as registry.example/team/model:1.2, got ${JSON.stringify(image.slice(0, 100))}`;
}

/** Why there can never be a block like this; undefined when there can. */
export function blockRefusal({ blockId }: BlockSpec): ApplyOutcome | undefined {
  const message = blockIdRefusal(blockId);
  return message === undefined ? undefined : refused("INVALID_ARGUMENT", message);
}

/** Why an instance can never be as specified; undefined when it can. */
export function instanceRefusal(spec: InstanceSpec, binding: GpuBinding): ApplyOutcome | undefined {
  const name =
    blockIdRefusal(spec.blockId) ?? instanceIdRefusal(spec) ?? nodeIdRefusal(spec.nodeId);
  if (name !== undefined) return refused("INVALID_ARGUMENT", name);
  const message = programRefusal(spec) ?? deviceRefusal(spec, binding);
  return message === undefined ? undefined : refused("PRECONDITION_FAILED", message);
}

/** A refusal as a value. */
export function refused(reason: Reason, message: string): ApplyOutcome {
  return { kind: "refused", reason, message };
}
