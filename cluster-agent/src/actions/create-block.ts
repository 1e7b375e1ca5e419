import { BerthError, parseLossless } from "@berth/service-kit";
import { type BlockEntry, parseBlockEntry } from "../blocks/block-entry.ts";
import type { BlockRecord } from "../blocks/block-records.ts";
import { isThirdParty } from "../blocks/entry-reading.ts";
import type { CrewDeps, InstanceCrew, PlannedInstance } from "./instance-crew.ts";
import { fenceOf, ownershipOf } from "./instance-spec.ts";
import type { Action, RunningOperation } from "./operation.ts";

/** What the actions on blocks are done with. */
export interface BlockActionDeps extends CrewDeps {
  readonly crew: InstanceCrew;
}

/**
 * Makes a block with as many instances as it has at least: its record, its root, what they need, the instances. Input:
 * the entry. Undone, nothing of it is left; a block of the same id that is another operation's is not touched.
 */
export function createBlock({ blocks, runtime, ledger, crew }: BlockActionDeps): Action {
  const isOurs = (operation: RunningOperation) =>
    blocks.block(operation.blockId)?.operationId === operation.id;
  return {
    async run(operation) {
      const { id: operationId, blockId, signal } = operation;
      const entry = parseBlockEntry(parseLossless(operation.inputJson)) as BlockEntry;
      const created = await blocks.create(entry, { operationId });
      if (created.kind === "exists") {
        throw new BerthError("ALREADY_EXISTS", `block ${JSON.stringify(blockId)} exists already`);
      }
      const planned = plannedInstances(operation);
      await crew.take(operation, {
        block: created.record,
        planned,
        rules: { action: isThirdParty(entry) ? "third_party_allocate" : "allocation" },
      });
      operation.at("making the block's root");
      const ownership = ownershipOf(operationId, fenceOf(operation));
      const outcome = await runtime.applyBlock({ blockId, ownership }, signal);
      if (outcome.kind === "refused") throw new BerthError(outcome.reason, outcome.message);
      await crew.start(operation, created.record, planned);
      await blocks.setPhase(blockId, "running");
      return "Action performed";
    },
    async undo(operation) {
      const { blockId, signal } = operation;
      if (!isOurs(operation)) return;
      operation.at("removing the block");
      await blocks.setPhase(blockId, "removing");
      await runtime.removeBlock(blockId, signal);
      for (const { id } of ledger.holds({ blockId })) await crew.free(id);
      await blocks.remove(blockId);
    },
  };
}

/** The instances that were planned when the operation was accepted. */
export function plannedInstances({ plan }: RunningOperation): readonly PlannedInstance[] {
  return plan.instances as readonly PlannedInstance[];
}

/** A block that an operation works on; NOT_FOUND when there is none. */
export function blockOf(
  { blocks }: Pick<BlockActionDeps, "blocks">,
  { blockId }: Pick<RunningOperation, "blockId">,
): BlockRecord {
  const block = blocks.block(blockId);
  if (block !== undefined) return block;
  throw new BerthError("NOT_FOUND", `no block ${JSON.stringify(blockId)} in this cluster`);
}
