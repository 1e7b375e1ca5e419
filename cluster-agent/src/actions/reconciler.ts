import { BerthError, type Logger, type Part, sleep, toBerthError } from "@berth/service-kit";
import type { BlockBook } from "../blocks/block-book.ts";
import type { BlockRecord, InstanceRecord } from "../blocks/block-records.ts";
import type { AllocationHold } from "../ledger/claim.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { ReconcileReport } from "../ledger/reconcile.ts";
import type { NodeView } from "../nodes/node-view.ts";
import type { ObservedInstance, Runtime } from "../runtime/runtime.ts";
import type { InstanceCrew } from "./instance-crew.ts";
import { ownershipOf } from "./instance-spec.ts";
import { isOver } from "./operation.ts";
import type { OperationBook } from "./operation-book.ts";

/** What {@link Reconciler} needs. */
export interface ReconcilerDeps {
  readonly ledger: Ledger;
  readonly runtime: Runtime;
  readonly blocks: BlockBook;
  readonly crew: InstanceCrew;
  readonly operations: OperationBook;
  readonly nodes: { views(): readonly NodeView[] };
  readonly logger: Logger;
}

const LOOK_EVERY_MS = 250;
const RETRY_MS = 2_000;

/**
 * Opens the ledger at the agent's start: waits until every known node has been heard or is lost, looks at what runs,
 * and makes the books say so. Then what shall run and does not is started again, and what is held for nothing that
 * anybody wants is given back. What runs and is in no record is kept, and held: an agent ends nothing because it started.
 */
export class Reconciler implements Part {
  readonly name = "reconciler";
  readonly #deps: ReconcilerDeps;
  readonly #stop = new AbortController();
  readonly #ready = Promise.withResolvers<void>();
  #loop: Promise<void> | undefined;

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps;
    this.#ready.promise.catch(() => undefined);
  }

  async start(): Promise<void> {
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error("the agent stops"));
    this.#ready.reject(this.#stop.signal.reason);
    await this.#loop;
  }

  /** Resolves when the ledger is open and what was cut off is settled; rejects when the signal is aborted. */
  async ready(signal: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<never>();
    const onAbort = () => aborted.reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      await Promise.race([this.#ready.promise, aborted.promise]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#nodesKnown();
        await this.#settle(await this.#reconcile());
        this.#ready.resolve();
        return;
      } catch (err) {
        if (signal.aborted) return;
        await this.#wait(err);
        await sleep(RETRY_MS, signal);
      }
    }
  }

  /** Whoever asks the ledger is told why; the log is, once. */
  async #wait(err: unknown): Promise<void> {
    const { ledger, logger } = this.#deps;
    const { message } = toBerthError(err);
    const why = `the ledger waits for a look at what runs (${message})`;
    if (ledger.status.why !== why) {
      logger.error("the ledger could not be reconciled, trying again", { err });
    }
    await ledger.close(why);
  }

  /** A node that is neither heard nor lost yet may say something of its GPUs; one whose removal was cut off is not let in. */
  async #nodesKnown(): Promise<void> {
    const { signal } = this.#stop;
    const isAwaited = ({ liveness, lifecycle }: NodeView) =>
      liveness === "unknown" && lifecycle !== "removed";
    while (this.#deps.nodes.views().some(isAwaited)) {
      await sleep(LOOK_EVERY_MS, signal);
      signal.throwIfAborted();
    }
  }

  async #reconcile(): Promise<Unsettled> {
    const { ledger, runtime } = this.#deps;
    const { instances, blockIds } = await runtime.observe(this.#stop.signal);
    const { unobserved, displaced, damaged } = await ledger.reconcile(instances.map(observedHold));
    const observed = new Set(instances.map(({ instanceId }) => instanceId));
    return { unobserved, displaced, damaged, observed, rooted: new Set(blockIds) };
  }

  async #settle({ unobserved, displaced, rooted, ...seen }: Unsettled): Promise<void> {
    for (const hold of displaced) await this.#dropRecord(hold);
    await this.#dropUnheld(seen);
    for (const block of this.#deps.blocks.blocks()) {
      if (block.phase === "running" && !rooted.has(block.id)) await this.#applyRoot(block);
    }
    await this.#settleHeld(unobserved);
  }

  /** An instance whose devices something else uses: an operation that is not over places it anew, nobody else does. */
  async #dropRecord({ id, claim, purpose }: AllocationHold): Promise<void> {
    const { blocks, logger } = this.#deps;
    const { blockId, instanceId } = purpose;
    const { nodeId, devices } = claim;
    const lost = { ...purpose, nodeId, devices: devices.map(({ uuid }) => uuid) };
    logger.error("an instance that does not run has lost its devices to what runs there", lost);
    if (blocks.instance(blockId, instanceId)?.allocationId !== id) return;
    await blocks.removeInstance(blockId, instanceId);
  }

  /** Records of what neither runs nor is held: it did not run when the ledger was lost. */
  async #dropUnheld({ observed, damaged }: Pick<Unsettled, "observed" | "damaged">): Promise<void> {
    const { blocks, ledger, logger } = this.#deps;
    const under = this.#openOperations();
    for (const { id: blockId } of blocks.blocks()) {
      for (const record of blocks.instances(blockId)) {
        const { instanceId, allocationId, operationId, nodeId } = record;
        if (under.has(operationId) || under.has(blockId)) continue;
        if (observed.has(instanceId) || damaged.has(nodeId)) continue;
        if (ledger.hold(allocationId) !== undefined) continue;
        const lost = { blockId, instanceId, nodeId };
        logger.error("an instance that does not run has lost its place: nothing holds it", lost);
        await blocks.removeInstance(blockId, instanceId);
      }
    }
  }

  /** The root of a block that the store knows and the runtime does not: the store is an older one. */
  async #applyRoot({ id: blockId, operationId }: BlockRecord): Promise<void> {
    const { runtime, logger } = this.#deps;
    const ownership = ownershipOf(operationId);
    const outcome = await runtime.applyBlock({ blockId, ownership }, this.#stop.signal);
    if (outcome.kind === "applied") logger.warn("the root of a block was made again", { blockId });
    else logger.error("the root of a block is missing", { blockId, why: outcome.message });
  }

  /** What is held and does not run. */
  async #settleHeld(unobserved: readonly AllocationHold[]): Promise<void> {
    const { blocks, crew, logger } = this.#deps;
    const under = this.#openOperations();
    for (const { id, purpose } of unobserved) {
      // The operation that took it goes on by itself.
      if (under.has(purpose.operationId) || under.has(purpose.blockId)) continue;
      const block = blocks.block(purpose.blockId);
      const record = blocks.instance(purpose.blockId, purpose.instanceId);
      if (block !== undefined && record?.state === "wanted" && record.allocationId === id) {
        logger.warn("an instance that was not found is started again", { ...purpose });
        await this.#start(block, record);
      } else {
        logger.warn("what nobody wants is given back", { allocation: id, ...purpose });
        await crew.free(id);
      }
    }
  }

  /** One that the runtime refuses stays as it is, not ready, and holds up nobody else. */
  async #start(block: BlockRecord, record: InstanceRecord): Promise<void> {
    try {
      await this.#deps.crew.apply(block, record, this.#stop.signal);
    } catch (err) {
      const { blockId, instanceId } = record;
      if (!(err instanceof BerthError) || err.reason === "UNAVAILABLE") throw err;
      this.#deps.logger.error("an instance could not be started again", {
        ...{ blockId, instanceId, err },
      });
    }
  }

  /** Ids of the operations that are not over, and of their blocks. */
  #openOperations(): ReadonlySet<string> {
    const open = this.#deps.operations.list().filter((one) => !isOver(one));
    return new Set(open.flatMap(({ id, blockId }) => [id, blockId]));
  }
}

/** What is to be done when the books say what runs. */
interface Unsettled extends Pick<ReconcileReport, "unobserved" | "displaced" | "damaged"> {
  /** Ids of the instances that run. */
  readonly observed: ReadonlySet<string>;
  /** Blocks whose root the runtime has. */
  readonly rooted: ReadonlySet<string>;
}

function observedHold(one: ObservedInstance) {
  const { allocationId, blockId, instanceId, nodeId, ownership } = one;
  const { cpuMillis, memoryMiB, storageMiB } = one;
  return {
    ...{ allocationId, blockId, instanceId, nodeId, cpuMillis, memoryMiB, storageMiB },
    devices: one.deviceUuids.map((uuid) => {
      const shareMiB = one.sharesMiB[uuid];
      return shareMiB === undefined ? { uuid } : { uuid, memoryMiB: shareMiB };
    }),
    operationId: ownership.operationId,
  };
}
