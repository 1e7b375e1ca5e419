import type { GpuState, HealthClassName } from "@berth/proto";
import type { GpuVerdict } from "../nodes/gpu-verdict.ts";
import type { NodeView } from "../nodes/node-view.ts";

/** What documents say of the verdict on a GPU. */
export interface VerdictFields {
  readonly state: GpuState;
  readonly health?: HealthClassName;
  readonly reason?: string;
}

/** The verdict on a GPU as documents say it; `reason` may be told otherwise than the verdict has it. */
export function verdictFields(
  verdict: GpuVerdict | undefined,
  reason = verdict?.reason,
): VerdictFields {
  return {
    state: stateOf(verdict),
    ...(verdict?.health === undefined ? {} : { health: verdict.health }),
    ...(reason === undefined ? {} : { reason }),
  };
}

/** Number of GPUs of a node that are well, and that nobody holds. */
export function freeGpus({ verdicts }: Pick<NodeView, "verdicts">): number {
  return verdicts.filter((verdict) => stateOf(verdict) === "free").length;
}

function stateOf(verdict: GpuVerdict | undefined): GpuState {
  if (verdict?.state !== "free") return "unhealthy";
  return verdict.taken ?? (verdict.cordoned === true ? "cordoned" : "free");
}
