import type { Reason } from "@berth/service-kit";
import type { ApplyOutcome, BlockSpec, InstanceSpec } from "../runtime.ts";
import { instanceEnvironment, stringsRefusal } from "./environment.ts";
import { blockShapeRefusal, specShapeRefusal } from "./instance-record.ts";
import { nameRefusal } from "./names.ts";

/** Why a process runtime can never run a program; undefined when it can. */
export function programRefusal({
  image,
  command,
}: Pick<InstanceSpec, "image" | "command">): string | undefined {
  if (command !== undefined && command.length > 0) {
    return command[0] === "" ? "command[0]: expected the name of a program" : undefined;
  }
  if (image === undefined) {
    return "this cluster runs local processes: the component names no program; give component.containerRegistryInfo.command";
  }
  return "this cluster runs local processes: the component has a container image only; give component.containerRegistryInfo.command, or use a Kubernetes cluster";
}

/** Why an instance can never run here, whatever else does; undefined when it can. */
export function specRefusal(
  spec: InstanceSpec,
  environment: Readonly<Record<string, string | undefined>>,
): ApplyOutcome | undefined {
  const name =
    specShapeRefusal(spec) ??
    nameRefusal("blockId", spec.blockId) ??
    nameRefusal("instanceId", spec.instanceId);
  if (name !== undefined) return refused("INVALID_ARGUMENT", name);
  const program = programRefusal(spec);
  if (program !== undefined) return refused("PRECONDITION_FAILED", program);
  const facts = { clusterId: "", runtimeId: "", startId: "", ports: { control: 0, metrics: 0 } };
  const strings = stringsRefusal(spec.command ?? [], instanceEnvironment(spec, facts, environment));
  return strings === undefined ? undefined : refused("INVALID_ARGUMENT", strings);
}

/** Why a block can never be here; undefined when it can. */
export function blockRefusal(spec: BlockSpec): ApplyOutcome | undefined {
  const message = blockShapeRefusal(spec) ?? nameRefusal("blockId", spec.blockId);
  return message === undefined ? undefined : refused("INVALID_ARGUMENT", message);
}

/** A refusal as a value. */
export function refused(reason: Reason, message: string): ApplyOutcome {
  return { kind: "refused", reason, message };
}
