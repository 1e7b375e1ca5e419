import { BerthError } from "@berth/service-kit";
import type { BlockActionDeps } from "./create-block.ts";
import type { Action, RunningOperation } from "./operation.ts";

/**
 * Removes a block with all its instances, and gives back what they held when nothing of them runs any more. What was
 * begun is not taken back: a removal that does not come to its end is stuck. Also removes what was left of a block
 * without a record.
 */
export function removeBlock({ blocks, runtime, ledger, crew }: BlockActionDeps): Action {
  const remove = async (operation: RunningOperation) => {
    const { blockId, signal } = operation;
    if (blocks.block(blockId) !== undefined) await blocks.setPhase(blockId, "removing");
    const count = blocks.instances(blockId).length;
    operation.at("ending instances", 0, count);
    await runtime.removeBlock(blockId, signal);
    operation.at("giving back GPUs", count, count);
    for (const { id } of ledger.holds({ blockId })) await crew.free(id);
    await blocks.remove(blockId);
  };
  return {
    async run(operation) {
      const { blockId, signal } = operation;
      const isKnown =
        operation.isResumed ||
        blocks.block(blockId) !== undefined ||
        ledger.holds({ blockId }).length > 0 ||
        (await runtime.observe(signal)).blockIds.includes(blockId);
      if (!isKnown) {
        throw new BerthError("NOT_FOUND", `no block ${JSON.stringify(blockId)} in this cluster`);
      }
      await remove(operation);
      return "Action performed";
    },
    async undo(operation) {
      if (blocks.block(operation.blockId)?.phase === "removing") await remove(operation);
    },
  };
}
