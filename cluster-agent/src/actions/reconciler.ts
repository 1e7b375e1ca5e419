import { type Logger, type Part, sleep, toBerthError } from "@berth/service-kit";
import type { BlockBook } from "../blocks/block-book.ts";
import type { AllocationHold } from "../ledger/claim.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { NodeView } from "../nodes/node-view.ts";
import type { ObservedInstance, Runtime } from "../runtime/runtime.ts";
import type { InstanceCrew } from "./instance-crew.ts";
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

  /** A node that is neither heard nor lost yet may say something of its GPUs. */
  async #nodesKnown(): Promise<void> {
    const { signal } = this.#stop;
    while (this.#deps.nodes.views().some(({ liveness }) => liveness === "unknown")) {
      await sleep(LOOK_EVERY_MS, signal);
      signal.throwIfAborted();
    }
  }

  async #reconcile(): Promise<readonly AllocationHold[]> {
    const { ledger, runtime } = this.#deps;
    const { instances } = await runtime.observe(this.#stop.signal);
    const report = await ledger.reconcile(instances.map(observedHold));
    return report.unobserved;
  }

  /** What is held and does not run. */
  async #settle(unobserved: readonly AllocationHold[]): Promise<void> {
    const { blocks, crew, logger } = this.#deps;
    const under = this.#openOperations();
    for (const { id, purpose } of unobserved) {
      // The operation that took it goes on by itself.
      if (under.has(purpose.operationId) || under.has(purpose.blockId)) continue;
      const block = blocks.block(purpose.blockId);
      const record = blocks.instance(purpose.blockId, purpose.instanceId);
      if (block !== undefined && record?.state === "wanted" && record.allocationId === id) {
        logger.warn("an instance that was not found is started again", { ...purpose });
        await crew.apply(block, record, this.#stop.signal);
      } else {
        logger.warn("what nobody wants is given back", { allocation: id, ...purpose });
        await crew.free(id);
      }
    }
  }

  /** Ids of the operations that are not over, and of their blocks. */
  #openOperations(): ReadonlySet<string> {
    const open = this.#deps.operations.list().filter((one) => !isOver(one));
    return new Set(open.flatMap(({ id, blockId }) => [id, blockId]));
  }
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
