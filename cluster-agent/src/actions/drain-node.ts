import { BerthError, type Clock, sleep } from "@berth/service-kit";
import type { InstanceRecord } from "../blocks/block-records.ts";
import type { AllocationHold, Hold } from "../ledger/claim.ts";
import type { NodeRoster } from "../nodes/node-roster.ts";
import { DrainChildren, type DrainInput, type DrainRunner } from "./drain-children.ts";
import type { InstanceCrew } from "./instance-crew.ts";
import type { Action, RunningOperation } from "./operation.ts";
import { FinalError } from "./operation-course.ts";

/** What {@link drainNode} works with. */
export interface DrainDeps {
  readonly roster: Pick<NodeRoster, "step" | "get">;
  readonly ledger: {
    holds(filter: { kind: "allocation"; nodeId: string }): readonly Hold[];
  };
  readonly blocks: {
    instance(blockId: string, instanceId: string): InstanceRecord | undefined;
  };
  readonly crew: Pick<InstanceCrew, "end">;
  /** Does the moves, as operations of their own. */
  readonly runner: DrainRunner;
  /** Forgets an empty node, and refuses it from then on; may be called again. */
  readonly retire: (nodeId: string, operationId: string) => Promise<void>;
  readonly clock: Clock;
  /** How often it is looked what is still there, ms; 250 by default. */
  readonly lookEveryMs?: number;
}

const LOOK_EVERY_MS = 250;
/** Time for an instance that is in no record to be gone when it is ended, ms. */
const END_WITHIN_MS = 60_000;
/** When no instance has gone for so long, those that are ended are given up, ms. */
const ENDS_EVERY_MS = 120_000;
/** Instances that a message names at most. */
const TOLD = 3;
/** Instances that the details of a failure list at most. */
const LISTED = 100;

/** What one look at a node and its instances needs. */
interface Drain {
  readonly deps: DrainDeps;
  readonly operation: RunningOperation;
  readonly input: DrainInput;
  readonly children: DrainChildren;
}

/** The key by which operations on a node are done one after the other, as those of a block are by its id. */
export function nodeKey(nodeId: string): string {
  return `node/${nodeId}`;
}

/**
 * Removes a node: nothing new goes there, each instance is moved by an operation of its own, and when nothing holds
 * anything of the node any more it is forgotten, and refused until it is onboarded again. DEADLINE_EXCEEDED that names what
 * is left there when the time is over; then the node stays cordoned, and what has moved stays where it is. CONFLICT when it
 * was uncordoned meanwhile, or when a removal by force waits behind one that is not. What a removal that is over has asked for
 * and was not begun is not done.
 */
export function drainNode(deps: DrainDeps): Action {
  return {
    async run(operation) {
      const input = JSON.parse(operation.inputJson) as DrainInput;
      const { nodeId } = input;
      await deps.roster.step(nodeId, { kind: "drain", operationId: operation.id });
      const children = new DrainChildren(deps.runner, { operation, input, clock: deps.clock });
      await empty({ deps, operation, input, children });
      operation.at("forgetting the node");
      await deps.retire(nodeId, operation.id);
      return { node_id: nodeId, ...children.counts };
    },
    async undo(operation) {
      const { nodeId } = JSON.parse(operation.inputJson) as DrainInput;
      await deps.roster.step(nodeId, { kind: "drain_failed", operationId: operation.id });
    },
  };
}

async function empty(drain: Drain): Promise<void> {
  if (await emptiedBy(drain, "move")) return;
  if (drain.input.force) {
    await endStrays(drain);
    if (await emptiedBy(drain, "end")) return;
  }
  throw notEmpty(drain);
}

/** Whether the node is empty in time. */
async function emptiedBy(drain: Drain, how: "move" | "end"): Promise<boolean> {
  const { deps, operation, input, children } = drain;
  let endsAtMs = deps.clock.nowMs() + (how === "move" ? input.timeoutMs : ENDS_EVERY_MS);
  for (;;) {
    refuseUnwanted(drain);
    const there = holdsOn(drain);
    const { gone } = children;
    children.keep(there);
    if (how === "end" && children.gone > gone) endsAtMs = deps.clock.nowMs() + ENDS_EVERY_MS;
    const step = how === "move" ? "moving instances" : "ending instances";
    operation.at(step, children.gone, children.gone + there.length);
    if (there.length === 0) return true;
    if (deps.clock.nowMs() >= endsAtMs) return false;
    for (const hold of there) {
      const { blockId, instanceId } = hold.purpose;
      const record = deps.blocks.instance(blockId, instanceId);
      await children.tend(hold, record, how);
    }
    await sleep(deps.lookEveryMs ?? LOOK_EVERY_MS, operation.signal);
    operation.signal.throwIfAborted();
  }
}

function refuseUnwanted({ deps, operation, input }: Drain): void {
  const { nodeId, force } = input;
  const refuse = (why: string): never => {
    const message = `node ${JSON.stringify(nodeId)} ${why}; what has moved stays where it is`;
    throw new BerthError("CONFLICT", message);
  };
  if (deps.roster.get(nodeId)?.operationId !== operation.id) {
    refuse("was uncordoned or deleted, so it is not emptied any more");
  }
  if (!force && operation.isRemovalWaiting()) {
    refuse("is to be removed by force, by the operation behind this one");
  }
}

/** Ends what runs there and is in no record: nobody can move it. */
async function endStrays(drain: Drain): Promise<void> {
  const { deps, operation } = drain;
  const strays = holdsOn(drain).filter(({ purpose }) => {
    return deps.blocks.instance(purpose.blockId, purpose.instanceId) === undefined;
  });
  for (const { id: allocationId, purpose } of strays) {
    const { blockId, instanceId } = purpose;
    const signal = AbortSignal.any([operation.signal, AbortSignal.timeout(END_WITHIN_MS)]);
    try {
      await deps.crew.end({ at: operation.at, signal, blockId }, [{ instanceId, allocationId }]);
      drain.children.ended(instanceId);
    } catch (thrown) {
      operation.signal.throwIfAborted();
      drain.children.failed(instanceId, thrown);
    }
  }
}

function holdsOn({ deps, input }: Pick<Drain, "deps" | "input">): readonly AllocationHold[] {
  const holds = deps.ledger.holds({ kind: "allocation", nodeId: input.nodeId });
  return holds.filter((hold) => hold.kind === "allocation");
}

function notEmpty(drain: Drain): FinalError {
  const { nodeId, timeoutMs, force } = drain.input;
  const left = holdsOn(drain).map(({ purpose: { blockId, instanceId } }) => {
    return { block_id: blockId, instance_id: instanceId, why: drain.children.why(instanceId) };
  });
  const named = left.slice(0, TOLD).map((one) => `${one.block_id}/${one.instance_id} (${one.why})`);
  const more = left.length > TOLD ? `; and ${left.length - TOLD} more` : "";
  const advice = force ? "" : "; force ends what cannot be moved";
  const message = `node ${JSON.stringify(nodeId)} is not empty after ${timeoutMs} ms and stays cordoned: ${named.join("; ")}${more}${advice}`;
  return new FinalError("DEADLINE_EXCEEDED", message, {
    details: { instances: left.slice(0, LISTED), left: left.length },
  });
}
