import { BerthError, parseLossless } from "@berth/service-kit";
import type { GivenPlacement } from "../allocator/placer.ts";
import { instanceBounds } from "../blocks/block-entry.ts";
import type { BlockRecord, InstanceRecord } from "../blocks/block-records.ts";
import { type BlockActionDeps, blockOf, plannedInstances } from "./create-block.ts";
import type { Action, RunningOperation } from "./operation.ts";

/** What scaling is asked for; JSON of an operation's input. */
export type ScaleInput =
  | {
      readonly operation: "scale";
      readonly count: number;
      /** JSON texts, by instance. */
      readonly initData: readonly string[];
      readonly placements?: readonly GivenPlacement[];
      /** For the block's policy. */
      readonly extraData?: unknown;
    }
  | {
      readonly operation: "downscale";
      readonly instanceIds: readonly string[];
      /** Go below the least number of instances. */
      readonly force: boolean;
    };

/**
 * Adds instances to a block, all or none, or ends some of them. The bounds of the block hold. An end that was begun is not
 * taken back.
 */
export function scaleBlock(deps: BlockActionDeps): Action {
  const { crew } = deps;
  return {
    async run(operation) {
      const input = parseLossless(operation.inputJson) as ScaleInput;
      if (input.operation === "scale") await grow(deps, operation, input);
      else await shrink(deps, operation, input);
      return "scaled instances";
    },
    async undo(operation) {
      const input = parseLossless(operation.inputJson) as ScaleInput;
      if (input.operation === "scale") await crew.end(operation, plannedInstances(operation));
      else await crew.end(operation, leaving(deps, operation, input.instanceIds));
    },
  };
}

/**
 * Ends one instance of a block, also one that is in no record, and whose block is in none: what holds something for it is
 * known. Input as for a downscale.
 */
export function removeInstance(deps: BlockActionDeps): Action {
  const { run, undo } = scaleBlock(deps);
  return {
    async run(operation) {
      const { orphans, isGone } = unrecorded(deps, operation);
      if (orphans.length > 0) await deps.crew.end(operation, orphans);
      else if (!isGone) await run(operation);
      return "Action performed";
    },
    undo,
  };
}

async function grow(
  deps: BlockActionDeps,
  operation: RunningOperation,
  { placements, extraData }: Extract<ScaleInput, { operation: "scale" }>,
): Promise<void> {
  const block = settledBlock(deps, operation);
  const planned = plannedInstances(operation);
  const others = wanted(deps, block).filter((one) => one.operationId !== operation.id);
  const { maxInstances } = instanceBounds(block.entry);
  if (maxInstances !== undefined && others.length + planned.length > maxInstances) {
    const message = `instances_count: block ${JSON.stringify(block.id)} has ${others.length} instances and maxInstances ${maxInstances}, so ${planned.length} more cannot be added`;
    const fits = Math.max(0, maxInstances - others.length);
    throw new BerthError("PRECONDITION_FAILED", message, { details: { fits } });
  }
  const rules = {
    action: "scale" as const,
    ...(placements === undefined ? {} : { given: placements }),
    ...(extraData === undefined ? {} : { extraData }),
  };
  await deps.crew.take(operation, { block, planned, rules });
  await deps.crew.start(operation, block, planned);
}

async function shrink(
  deps: BlockActionDeps,
  operation: RunningOperation,
  { instanceIds, force }: Extract<ScaleInput, { operation: "downscale" }>,
): Promise<void> {
  const block = settledBlock(deps, operation);
  const field = operation.action === "remove_instance" ? "instance_id" : "instances_list";
  const all = deps.blocks.instances(block.id);
  const unknown = instanceIds.find((id) => all.every(({ instanceId }) => instanceId !== id));
  if (unknown !== undefined && !operation.isResumed) {
    const message = `${field}: block ${JSON.stringify(block.id)} has no instance ${JSON.stringify(unknown)}`;
    throw new BerthError("NOT_FOUND", message);
  }
  const leaves = all.filter(({ instanceId }) => instanceIds.includes(instanceId));
  const stay = wanted(deps, block).filter((one) => !leaves.includes(one)).length;
  const { minInstances = 0 } = instanceBounds(block.entry);
  if (stay < minInstances && !force) {
    const message = `${field}: ${stay} instances of block ${JSON.stringify(block.id)} would stay, and minInstances is ${minInstances}; lower it or give force`;
    throw new BerthError("PRECONDITION_FAILED", message);
  }
  await deps.crew.end(operation, leaves);
}

/** What is held for instances in no record: no other operation of the block is under way that would write them down. */
function unrecorded(
  { blocks, ledger }: BlockActionDeps,
  { blockId, inputJson, isResumed }: RunningOperation,
) {
  const { instanceIds } = JSON.parse(inputJson) as Extract<ScaleInput, { operation: "downscale" }>;
  const ids = instanceIds.filter((id) => blocks.instance(blockId, id) === undefined);
  const orphans = ledger.holds({ kind: "allocation", blockId }).flatMap((hold) => {
    if (hold.kind !== "allocation" || !ids.includes(hold.purpose.instanceId)) return [];
    return [{ instanceId: hold.purpose.instanceId, allocationId: hold.id }];
  });
  return { orphans, isGone: isResumed && ids.length === instanceIds.length };
}

/** Instances that are on their way out. */
function leaving(
  { blocks }: BlockActionDeps,
  { blockId }: RunningOperation,
  instanceIds: readonly string[],
): readonly InstanceRecord[] {
  const all = blocks.instances(blockId);
  return all.filter((one) => one.state === "removing" && instanceIds.includes(one.instanceId));
}

function wanted({ blocks }: BlockActionDeps, { id }: BlockRecord): readonly InstanceRecord[] {
  return blocks.instances(id).filter(({ state }) => state === "wanted");
}

/** A block that is not being removed. */
function settledBlock(deps: BlockActionDeps, operation: RunningOperation): BlockRecord {
  const block = blockOf(deps, operation);
  if (block.phase !== "removing") return block;
  throw new BerthError("CONFLICT", `block ${JSON.stringify(block.id)} is being removed`);
}
