import type { Reason } from "@berth/service-kit";

/** A GPU, or a part of one, that an instance may use. */
export interface AssignedDevice {
  /** UUID of the GPU or of the MIG device. */
  readonly uuid: string;
  /** Slot of the GPU on its node, or of the GPU that the MIG device is cut from. */
  readonly slot: number;
  /** GPU memory that was assigned; of a whole device all of it. Accounting only, nothing enforces it. */
  readonly memoryMiB: number;
  /** Others may have the rest of it; absent of a whole device. */
  readonly isShared?: true;
}

/** What {@link ObservedInstance.sharesMiB} says of devices. */
export function sharesOf(devices: readonly AssignedDevice[]): Readonly<Record<string, number>> {
  const shared = devices.filter(({ isShared }) => isShared === true);
  return Object.fromEntries(shared.map(({ uuid, memoryMiB }) => [uuid, memoryMiB]));
}

/** Which decision something was made by: kept with what runs, so that the ledger can be rebuilt from it. */
export interface Ownership {
  readonly operationId: string;
  /** Store and term of the control-plane that gave the order; empty and "0" for an order of this cluster's own API. */
  readonly fence: { readonly storeId: string; readonly controllerTerm: string };
}

/** The root that the instances of a block hang on. Names are minted and stored before a runtime sees them. */
export interface BlockSpec {
  readonly blockId: string;
  readonly ownership: Ownership;
}

/** One instance of a block. */
export interface InstanceSpec {
  readonly blockId: string;
  /** "in-x4k9mq2p": unique on the cluster. */
  readonly instanceId: string;
  /** Node that it is bound to, for as long as it lives. */
  readonly nodeId: string;
  /** Container image; undefined when the component names none. */
  readonly image: string | undefined;
  /** Program and arguments; undefined when the component names none. */
  readonly command: readonly string[] | undefined;
  /** Environment that the component asks for; what the runtime itself sets wins. */
  readonly env: Readonly<Record<string, string>>;
  /** JSON text for `CUSTOM_INIT_DATA`; undefined when there is none. */
  readonly initDataJson: string | undefined;
  readonly devices: readonly AssignedDevice[];
  readonly cpuMillis: number;
  readonly memoryMiB: number;
  readonly storageMiB: number;
  readonly allocationId: string;
  readonly ownership: Ownership;
}

/** What became of a wish. A runtime that does not answer rejects with UNAVAILABLE instead. */
export type ApplyOutcome =
  /** It is written down where the runtime keeps what shall run; it runs, or will. */
  | { readonly kind: "applied" }
  /** This runtime will never run it; the message says what to change. Nothing of it is left. */
  | { readonly kind: "refused"; readonly reason: Reason; readonly message: string };

/** How far an instance has come. */
export type InstancePhase =
  /** Wanted, and not running yet. */
  | "pending"
  | "running"
  /** It ended and is started again after a delay. */
  | "restarting"
  /** It is being removed; something of it may still run. */
  | "terminating";

/** Where an instance answers; absent ports are not served. */
export interface InstanceEndpoints {
  /** `/health`, `/mgmt`, `/setParameters`, `/infer`: "http://127.0.0.1:41001". */
  readonly control?: string;
  /** Prometheus metrics of the instance. */
  readonly metrics?: string;
}

/** An instance as the runtime has it. */
export interface ObservedInstance {
  readonly blockId: string;
  readonly instanceId: string;
  readonly nodeId: string;
  readonly allocationId: string;
  readonly deviceUuids: readonly string[];
  /** Memory that was assigned of those of the devices that are shared, MiB, by UUID. */
  readonly sharesMiB: Readonly<Record<string, number>>;
  readonly cpuMillis: number;
  readonly memoryMiB: number;
  readonly storageMiB: number;
  readonly ownership: Ownership;
  /** {@link specDigest} of what was applied. */
  readonly specDigest: string;
  readonly phase: InstancePhase;
  /** Its health check answers. */
  readonly isReady: boolean;
  /** Times that it was started again. */
  readonly restarts: number;
  /** Why it does not run or is not ready, for people; absent when it is ready. */
  readonly message?: string;
  /** Name of the pod, or of the process ("pid 4711"); absent while there is none. */
  readonly podName?: string;
  readonly endpoints: InstanceEndpoints;
}

/** All that a runtime has of this cluster's, and nothing that is not ours. */
export interface Observation {
  /** Ids of the blocks that have a root. */
  readonly blockIds: readonly string[];
  readonly instances: readonly ObservedInstance[];
}

/**
 * Where blocks run. Every runtime passes the suite `runtimeContract`. Methods are idempotent: they may be called again
 * with the same arguments after a crash at any moment, and come to the same end. They reject with UNAVAILABLE when the
 * runtime does not answer, and with the signal's reason when it is aborted; what was begun may then have happened.
 */
export interface Runtime {
  readonly kind: "process" | "kubernetes";
  /** Why an instance with this program can never run here; undefined when it can. Pure: asked before anything is taken. */
  refusal(program: Pick<InstanceSpec, "image" | "command">): string | undefined;
  /** Makes the root of a block. */
  applyBlock(spec: BlockSpec, signal: AbortSignal): Promise<ApplyOutcome>;
  /** Makes an instance be as specified; its block must have a root. The same id with another spec is replaced. */
  applyInstance(spec: InstanceSpec, signal: AbortSignal): Promise<ApplyOutcome>;
  /** Ends an instance. Resolves when it is confirmed that nothing of it runs; an unknown one is gone. */
  removeInstance(
    id: Pick<InstanceSpec, "blockId" | "instanceId">,
    signal: AbortSignal,
  ): Promise<void>;
  /** Ends a block with all its instances and its root, in this order. Resolves when it is confirmed that nothing runs. */
  removeBlock(blockId: string, signal: AbortSignal): Promise<void>;
  /** All blocks and instances, complete or not at all. */
  observe(signal: AbortSignal): Promise<Observation>;
  /** Calls back, coalesced, when an observation may differ from the last one; gives the function that ends that. */
  onChange(listener: () => void): () => void;
}
