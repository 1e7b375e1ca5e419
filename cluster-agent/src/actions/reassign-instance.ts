import { BerthError, parseLossless, sleep } from "@berth/service-kit";
import type { InstanceRecord } from "../blocks/block-records.ts";
import type { ObservedInstance } from "../runtime/runtime.ts";
import { type BlockActionDeps, blockOf, plannedInstances } from "./create-block.ts";
import type { PlannedInstance } from "./instance-crew.ts";
import type { Action, RunningOperation } from "./operation.ts";
import { FinalError } from "./operation-course.ts";

/** What is moved; JSON of an operation's input. */
export interface ReassignInput {
  readonly instanceId: string;
  /** For the policy; kept with the operation. */
  readonly extraData?: unknown;
  /** Time for the new instance to be ready while the old one is, ms; 10 min when absent. */
  readonly readyTimeoutMs?: number;
}

const READY_WITHIN_MS = 600_000;
/** An old instance that was not ready for as long has nothing to lose: a new one that runs is as good, ms. */
const UNREADY_FOR_MS = 30_000;
const LOOK_EVERY_MS = 250;

/**
 * Moves an instance: a new one, with a new id, is placed and started, on another node where there is room; when it is
 * ready the old one is ended. So the block never has less than before; a move that fails leaves the old one as it is.
 * In place of one that was not ready for 30 s, a new one that runs is enough. DEADLINE_EXCEEDED, with what its health
 * said, when the new one was not ready in time; the time begins anew when the agent starts again.
 */
export function reassignInstance(deps: BlockActionDeps): Action {
  const { crew, blocks } = deps;
  const old = (operation: RunningOperation): InstanceRecord | undefined => {
    const { instanceId } = JSON.parse(operation.inputJson) as ReassignInput;
    return blocks.instance(operation.blockId, instanceId);
  };
  return {
    async run(operation) {
      const block = blockOf(deps, operation);
      const planned = plannedInstances(operation);
      const former = old(operation);
      const isMade = planned.every((one) => blocks.instance(block.id, one.instanceId));
      if (former === undefined && !isMade) {
        const { instanceId } = JSON.parse(operation.inputJson) as ReassignInput;
        const message = `instance_id: block ${JSON.stringify(block.id)} has no instance ${JSON.stringify(instanceId)}`;
        throw new BerthError("NOT_FOUND", message);
      }
      if (former?.state === "wanted") {
        await takeElsewhere(deps, operation, { former, planned });
        await crew.start(operation, block, planned);
        await untilReplaced(deps, operation, planned);
      }
      if (former !== undefined) await crew.end(operation, [former]);
      return "Action performed";
    },
    async undo(operation) {
      const former = old(operation);
      // From when the old one is on its way out there is no way back.
      if (former?.state === "wanted") await crew.end(operation, plannedInstances(operation));
      else if (former !== undefined) await crew.end(operation, [former]);
    },
  };
}

async function takeElsewhere(
  deps: BlockActionDeps,
  operation: RunningOperation,
  {
    former,
    planned,
  }: {
    readonly former: InstanceRecord;
    readonly planned: readonly PlannedInstance[];
  },
): Promise<void> {
  const block = blockOf(deps, operation);
  const { instanceId, extraData } = parseLossless(operation.inputJson) as ReassignInput;
  const observed = (await deps.runtime.observe(operation.signal)).instances;
  const { podName = "" } = observed.find((one) => one.instanceId === instanceId) ?? {};
  const moved = { instanceId, podName };
  const elsewhere = { action: "reassignment" as const, moved, extraData };
  try {
    const rules = { ...elsewhere, avoidedNodes: new Set([former.nodeId]) };
    await deps.crew.take(operation, { block, planned, rules });
  } catch (thrown) {
    if (!(thrown instanceof BerthError) || thrown.details.unschedulable !== true) throw thrown;
    await deps.crew.take(operation, { block, planned, rules: elsewhere });
  }
}

async function untilReplaced(
  { runtime, clock }: BlockActionDeps,
  operation: RunningOperation,
  planned: readonly PlannedInstance[],
): Promise<void> {
  const { signal, inputJson } = operation;
  const { instanceId, readyTimeoutMs } = JSON.parse(inputJson) as ReassignInput;
  const beganMs = clock.nowMs();
  let lastReadyMs = beganMs;
  operation.at("waiting for the new instance", 0, planned.length);
  for (;;) {
    const { instances } = await runtime.observe(signal);
    const seen = (id: string) => instances.find((one) => one.instanceId === id);
    const nowMs = clock.nowMs();
    if (seen(instanceId)?.isReady === true) lastReadyMs = nowMs;
    const fresh = planned.map((one) => seen(one.instanceId));
    const waited = { waitedMs: nowMs - beganMs, oldUnreadyMs: nowMs - lastReadyMs };
    if (mayReplace(fresh, { ...waited, readyTimeoutMs })) return;
    if (operation.isRemovalWaiting()) {
      throw new BerthError("CONFLICT", "the block is to be removed, so nothing is moved any more");
    }
    const unwanted = operation.whyUnwanted();
    if (unwanted !== undefined) throw new BerthError("CONFLICT", unwanted);
    await sleep(LOOK_EVERY_MS, signal);
    signal.throwIfAborted();
  }
}

/** Whether the old instance may go now; throws when it is to stay. */
function mayReplace(
  fresh: readonly (ObservedInstance | undefined)[],
  {
    waitedMs,
    oldUnreadyMs,
    readyTimeoutMs = READY_WITHIN_MS,
  }: {
    readonly waitedMs: number;
    readonly oldUnreadyMs: number;
    readonly readyTimeoutMs: number | undefined;
  },
): boolean {
  const unready = fresh.filter((one) => one?.isReady !== true);
  if (unready.length === 0) return true;
  const enoughMs = Math.min(UNREADY_FOR_MS, readyTimeoutMs);
  if (oldUnreadyMs >= enoughMs) {
    const idle = unready.filter((one) => one?.phase !== "running");
    if (idle.length === 0) return true;
    const message = `the new instance does not run after ${enoughMs} ms: ${said(idle[0])}`;
    throw new BerthError("PRECONDITION_FAILED", message);
  }
  if (waitedMs < readyTimeoutMs) return false;
  const message = `the new instance is not ready after ${readyTimeoutMs} ms (ready_timeout_ms), so the old one stays: ${said(unready[0])}`;
  throw new FinalError("DEADLINE_EXCEEDED", message);
}

function said(instance: ObservedInstance | undefined): string {
  return instance === undefined ? "it is not there" : (instance.message ?? instance.phase);
}
