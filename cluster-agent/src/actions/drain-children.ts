import { backoffMs, type Clock, toBerthError } from "@berth/service-kit";
import type { InstanceRecord } from "../blocks/block-records.ts";
import type { AllocationHold } from "../ledger/claim.ts";
import { planInstances } from "./instance-crew.ts";
import { fenceOf } from "./instance-spec.ts";
import { isOver, type OperationRecord, type RunningOperation } from "./operation.ts";
import type { OperationRequest } from "./operation-runner.ts";
import type { ReassignInput } from "./reassign-instance.ts";
import type { ScaleInput } from "./scale-block.ts";

/** What is drained; JSON of an operation's input. */
export interface DrainInput {
  readonly nodeId: string;
  /** Time to move all that runs there, ms; it begins anew when the agent starts again. */
  readonly timeoutMs: number;
  /** End what could not be moved by then. */
  readonly force: boolean;
}

/** What does the moves of a drain. */
export interface DrainRunner {
  accept(request: OperationRequest): Promise<OperationRecord>;
  /** An operation as it is now; undefined when there is none. */
  get(id: string): OperationRecord | undefined;
  /** Operations that another one has asked for. */
  childrenOf(parentId: string): readonly OperationRecord[];
}

/** Moves that go on at a time. */
const MAX_AT_ONCE = 16;
const RETRY = { firstMs: 1_000, capMs: 30_000 };
/** Former attempts of one instance that are gone through after a restart. */
const MAX_FORMER = 1_000;
/** Longest time that a moved instance is given to be ready, ms. */
const MAX_READY_MS = 3_600_000;

/** The operation that moves, or ends, one instance. */
interface Child {
  readonly how: "move" | "end";
  attempt: number;
  id?: string;
  /** Whose operation it is, while there is one. */
  blockId?: string;
  notBeforeMs: number;
  why: string;
}

/**
 * The operations by which a drain moves instances. Their idempotency keys follow from the drain's own id, so that a drain
 * that was cut off finds them again and moves nothing twice.
 */
export class DrainChildren {
  readonly #runner: DrainRunner;
  readonly #drain: {
    readonly operation: RunningOperation;
    readonly input: DrainInput;
    readonly clock: Clock;
  };
  readonly #children = new Map<string, Child>();
  readonly #gone = { moved: 0, ended: 0 };

  constructor(
    runner: DrainRunner,
    drain: {
      readonly operation: RunningOperation;
      readonly input: DrainInput;
      readonly clock: Clock;
    },
  ) {
    this.#runner = runner;
    this.#drain = drain;
    this.#recall();
  }

  /** How many instances have left the node; of those in no record the ones that this start has seen. */
  get counts(): { readonly moved: number; readonly ended: number } {
    return { ...this.#gone };
  }

  /** All that have left it. */
  get gone(): number {
    return this.#gone.moved + this.#gone.ended;
  }

  /** Time for one moved instance to be ready, ms: half of the drain's, so that there is time for another try. */
  get readyTimeoutMs(): number {
    return Math.min(MAX_READY_MS, Math.ceil(this.#drain.input.timeoutMs / 2));
  }

  /** Why an instance is still there, for people. */
  why(instanceId: string): string {
    return this.#children.get(instanceId)?.why ?? "it was not begun with";
  }

  /** Notes that something was tried in vain. */
  failed(instanceId: string, thrown: unknown): void {
    const child = this.#child(instanceId, "end");
    child.why = toBerthError(thrown).message;
  }

  /** Notes that an instance was ended without an operation. */
  ended(instanceId: string): void {
    this.#child(instanceId, "end");
  }

  /** Counts those that are there no more. */
  keep(there: readonly AllocationHold[]): void {
    const ids = new Set(there.map(({ purpose }) => purpose.instanceId));
    for (const [instanceId, { how }] of this.#children) {
      if (ids.has(instanceId)) continue;
      this.#children.delete(instanceId);
      this.#count(how);
    }
  }

  /** Looks how an instance's operation does, and begins one where none goes on. */
  async tend(
    { purpose: { blockId, instanceId }, note }: AllocationHold,
    record: InstanceRecord | undefined,
    how: Child["how"],
  ): Promise<void> {
    const child = this.#child(instanceId, how);
    // One that was being ended before a restart is moved only when that has failed.
    if (this.#goesOn(child) || child.how !== how) return;
    if (record === undefined) {
      child.why = note ?? "it is in no record, so nobody can move it";
      return;
    }
    if (record.state === "removing") {
      child.why = "it is being ended";
      return;
    }
    if (this.#mayBegin(child, blockId)) await this.#begin(child, { blockId, instanceId });
  }

  /** Goes on with what was asked for before a restart. */
  #recall(): void {
    for (const { id, blockId, ...record } of this.#runner.childrenOf(this.#drain.operation.id)) {
      const how = record.action === "remove_instance" ? "end" : "move";
      if (record.state === "done") this.#count(how);
      else if (!isOver(record))
        Object.assign(this.#child(instanceOf(record), how), { id, blockId });
    }
  }

  #count(how: Child["how"]): void {
    if (how === "move") this.#gone.moved += 1;
    else this.#gone.ended += 1;
  }

  async #begin(
    child: Child,
    { blockId, instanceId }: { readonly blockId: string; readonly instanceId: string },
  ): Promise<void> {
    try {
      for (let former = 0; former < MAX_FORMER; former += 1) {
        child.attempt += 1;
        const record = await this.#runner.accept(this.#request(child, blockId, instanceId));
        child.id = record.id;
        child.blockId = blockId;
        // One that has failed already is of the time before a restart.
        if (record.state !== "failed" && record.state !== "abandoned") return;
        delete child.id;
        child.why = record.error?.message ?? `operation ${record.id} is ${record.state}`;
      }
    } catch (thrown) {
      // Too many wait, or one of the block is stuck: it may be otherwise later.
      child.why = toBerthError(thrown).message;
      this.#later(child);
    }
  }

  /** Whether its operation goes on; notes why one that does not has ended. */
  #goesOn(child: Child): boolean {
    if (child.id === undefined) return false;
    const record = this.#runner.get(child.id);
    if (record !== undefined && !isOver(record)) {
      child.why =
        record.state === "stuck"
          ? `operation ${record.id} is stuck: retry or abandon it`
          : `operation ${record.id}: ${record.step}`;
      return true;
    }
    child.why = record?.error?.message ?? `operation ${child.id} is over`;
    delete child.id;
    this.#later(child);
    return false;
  }

  #later(child: Child): void {
    child.notBeforeMs = this.#drain.clock.nowMs() + backoffMs(child.attempt, RETRY);
  }

  /** Those of one block would only wait for each other, and could not be called back any more. */
  #mayBegin({ notBeforeMs }: Child, blockId: string): boolean {
    const open = [...this.#children.values()].filter(({ id }) => id !== undefined);
    const isFree = open.length < MAX_AT_ONCE && open.every((one) => one.blockId !== blockId);
    return isFree && this.#drain.clock.nowMs() >= notBeforeMs;
  }

  #child(instanceId: string, how: Child["how"]): Child {
    const known = this.#children.get(instanceId);
    const isBeingEnded = known?.how === "end" && known.id !== undefined;
    if (known?.how === how || isBeingEnded) return known;
    if (known?.id !== undefined) {
      this.#drain.operation.cancel(known.id, "the time to move is over, the instance is ended");
    }
    const why = known?.why ?? "it waits for its turn";
    const child: Child = { how, attempt: 0, notBeforeMs: 0, why };
    this.#children.set(instanceId, child);
    return child;
  }

  #request(child: Child, blockId: string, instanceId: string): OperationRequest {
    const { operation, input } = this.#drain;
    const { how, attempt } = child;
    const fence = fenceOf(operation);
    const ofFence = fence === undefined ? {} : { fence };
    const idempotencyKey = `${operation.id}/${how}/${instanceId}/${attempt}`;
    const ours = { parentId: operation.id, idempotencyKey };
    if (how === "end") {
      const end: ScaleInput = { operation: "downscale", instanceIds: [instanceId], force: true };
      const inputJson = JSON.stringify(end);
      return { action: "remove_instance", blockId, inputJson, plan: ofFence, ...ours };
    }
    const move: ReassignInput = {
      instanceId,
      extraData: { reason: "its node is being removed", node_id: input.nodeId },
      readyTimeoutMs: this.readyTimeoutMs,
    };
    const plan = { instances: planInstances(1), ...ofFence };
    const inputJson = JSON.stringify(move);
    return { action: "reassign-instances", blockId, inputJson, plan, ...ours };
  }
}

/** The instance that a drain's operation is about. */
function instanceOf({ inputJson }: Pick<OperationRecord, "inputJson">): string {
  const input = JSON.parse(inputJson) as {
    readonly instanceId?: string;
    readonly instanceIds?: readonly string[];
  };
  return input.instanceId ?? input.instanceIds?.[0] ?? "";
}
