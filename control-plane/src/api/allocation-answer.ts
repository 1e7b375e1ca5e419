import type { Principal } from "@berth/service-kit";
import type { AllocationFrame } from "../allocation/allocation-request.ts";
import type { Allocator } from "../allocation/allocator.ts";
import type { BlockModeAnswers } from "../placement/block-mode.ts";

/** Who answers allocation requests. */
export interface AllocationAnswerDeps {
  readonly allocator: Pick<Allocator, "allocate">;
  readonly blockMode: Pick<BlockModeAnswers, "answer">;
}

/** Answers a request of either mode. Throws what the message says wrong, and what its mode throws. */
export async function allocationAnswer(
  frame: AllocationFrame,
  { allocator, blockMode }: AllocationAnswerDeps,
  { principal, signal }: { readonly principal: Principal; readonly signal: AbortSignal },
): Promise<object> {
  const asked = frame.blockMode();
  if (asked !== undefined) return blockMode.answer(principal, asked, signal);
  return allocator.allocate(principal, frame, signal);
}
