import type { BlockBook } from "../blocks/block-book.ts";
import type { AllocationHold } from "../ledger/claim.ts";
import { isOver } from "./operation.ts";
import type { OperationBook } from "./operation-book.ts";

/**
 * Whether nobody knows what an allocation is for: its instance has no record, and no operation is under way that would
 * write one down.
 */
export function isOrphan(
  { purpose }: AllocationHold,
  {
    blocks,
    operations,
  }: {
    readonly blocks: Pick<BlockBook, "instance">;
    readonly operations: Pick<OperationBook, "get">;
  },
): boolean {
  const { blockId, instanceId, operationId } = purpose;
  if (blocks.instance(blockId, instanceId) !== undefined) return false;
  const operation = operations.get(operationId);
  return operation === undefined || isOver(operation);
}
