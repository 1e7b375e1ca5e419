import { BerthError, isBerthError, isJsonObject, parseLossless, sleep } from "@berth/service-kit";
import type { BlockRecord } from "../blocks/block-records.ts";
import type { ObservedInstance } from "../runtime/runtime.ts";
import { type BlockActionDeps, blockOf } from "./create-block.ts";
import { type InstanceReply, tellInstance } from "./instance-calls.ts";
import type { Action, RunningOperation } from "./operation.ts";

/** Instances that are told at the same time. */
const AT_ONCE = 8;
/** Time for instances that are not ready to become it, ms. */
const READY_WITHIN_MS = 30_000;
const LOOK_EVERY_MS = 250;
const NOT_THERE: InstanceReply = { success: false, message: "it does not run at all" };

/**
 * Changes parameters of a block: in its record, and in each instance by its `/setParameters`; instances that are not ready
 * have 30 s to become it, and are told then in any case. Input: the parameters that change. Result: what each instance
 * answered, by instance id. One that was not reached is told of there with `success: false` and why; the record holds
 * what was asked for all the same.
 */
export function updateParameters(deps: BlockActionDeps): Action {
  return {
    async run(operation) {
      const { blockId, inputJson, signal } = operation;
      const changes = parseLossless(inputJson) as Readonly<Record<string, unknown>>;
      blockOf(deps, operation);
      try {
        await deps.blocks.updateBy(blockId, (block) => ({
          $set: { parameters: { ...parametersOf(block), ...changes } },
        }));
      } catch (thrown) {
        throw asOfUpdateData(thrown);
      }
      const replies = await tellAll(deps, operation);
      signal.throwIfAborted();
      return Object.keys(replies).length === 0 ? "Action performed" : replies;
    },
    // The record says what its client wanted last: instances that did not hear of it are told again by the next update.
    async undo() {},
  };
}

/** A refusal of the record's update, in the words of the request. */
function asOfUpdateData(thrown: unknown): unknown {
  if (!isBerthError(thrown) || thrown.reason !== "INVALID_ARGUMENT") return thrown;
  const message = thrown.message.replace(/^(\$set\.)?parameters\b/, "update_data");
  return new BerthError("INVALID_ARGUMENT", message, { cause: thrown });
}

/** With numbers as they were written. */
function parametersOf({ written }: BlockRecord): Readonly<Record<string, unknown>> {
  const parameters: unknown = written.parameters ?? {};
  if (isJsonObject(parameters)) return parameters;
  throw new BerthError("PRECONDITION_FAILED", "parameters: the block's are no object");
}

/** Tells those that are ready, waits for others to be, and tells the rest at the deadline: they may listen already. */
async function tellAll(
  { runtime, blocks, clock }: BlockActionDeps,
  operation: RunningOperation,
): Promise<Record<string, InstanceReply>> {
  const { blockId, signal } = operation;
  const replies = new Map<string, InstanceReply>();
  const endsAtMs = clock.nowMs() + READY_WITHIN_MS;
  for (;;) {
    const { instances } = await runtime.observe(signal);
    const own = instances.filter((one) => one.blockId === blockId && one.phase !== "terminating");
    const left = own.filter(({ instanceId }) => !replies.has(instanceId));
    operation.at("telling instances", own.length - left.length, own.length);
    const isLate = clock.nowMs() >= endsAtMs || operation.isRemovalWaiting();
    await tellSome(
      left.filter(({ isReady }) => isReady || isLate),
      operation,
      replies,
    );
    if (left.every(({ instanceId }) => replies.has(instanceId))) break;
    await sleep(LOOK_EVERY_MS, signal);
    signal.throwIfAborted();
  }
  const wanted = blocks.instances(blockId).filter(({ state }) => state === "wanted");
  for (const { instanceId } of wanted) {
    if (!replies.has(instanceId)) replies.set(instanceId, NOT_THERE);
  }
  return Object.fromEntries(replies);
}

async function tellSome(
  instances: readonly ObservedInstance[],
  { inputJson: bodyText, signal }: RunningOperation,
  replies: Map<string, InstanceReply>,
): Promise<void> {
  const queue = instances.values();
  const tell = async (): Promise<void> => {
    for (const { instanceId, endpoints, isReady, message } of queue) {
      const call = { url: endpoints.control, path: "/setParameters", bodyText, signal };
      const reply = await tellInstance(call);
      const isLost = !isReady && reply.success === false && message !== undefined;
      const why = `it is not ready (${message}), and ${reply.message}`;
      replies.set(instanceId, isLost ? { success: false, message: why } : reply);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, tell));
}
