import type { Reason } from "@berth/service-kit";

/** What clients call an action. */
export type ActionName =
  | "create_block"
  | "remove_block"
  | "scale"
  | "remove_instance"
  | "parameter_update"
  | "reassign-instances"
  | "remove-node";

/** All of {@link OperationState}. */
export const OPERATION_STATES = [
  "running",
  "undoing",
  "done",
  "failed",
  "stuck",
  "abandoned",
] as const;

/**
 * `running` → `done`, or → `undoing` → `failed`. `stuck`: it cannot go on nor be undone, and waits for an operator, who
 * retries or abandons it; nothing else is done to its block meanwhile.
 */
export type OperationState = (typeof OPERATION_STATES)[number];

/** Why an operation did not do what it was asked for. */
export interface OperationError {
  readonly reason: Reason;
  /** For people: names the field or id, and what was expected. */
  readonly message: string;
  /** More for the client; JSON. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** One thing that was asked for, from when it was accepted until it is forgotten. JSON as stored. */
export interface OperationRecord {
  /** UUID, minted when it was accepted. */
  readonly id: string;
  readonly action: ActionName;
  readonly blockId: string;
  /** What is to be done, checked; JSON text with numbers as the client wrote them. */
  readonly inputJson: string;
  /** What the client had asked for, where a pre-check changed it: a repeated request is compared with that. */
  readonly askedJson?: string;
  /** Names that were minted before anything was done, so that doing it again does the same. */
  readonly plan: Readonly<Record<string, unknown>>;
  /** The operation that has asked for it: nobody wants it any more when that one does not go on. */
  readonly parentId?: string;
  /** Of the client: the same key with the same input is the same operation. */
  readonly idempotencyKey?: string;
  readonly state: OperationState;
  /** What it is at, for people: "starting instances". */
  readonly step: string;
  /** How many of how many parts of the step are done. */
  readonly progress: { readonly done: number; readonly total: number };
  /** Times that it was begun, or begun again. */
  readonly attempts: number;
  /** Why it failed or is being undone; of a running or stuck one what went wrong last. */
  readonly error?: OperationError;
  /** What it came to, once it is done; JSON. */
  readonly result?: unknown;
  /** ISO 8601, for people. */
  readonly createdAt: string;
  /** ISO 8601, for people. */
  readonly updatedAt: string;
}

/** Whether nothing more will happen to an operation by itself. */
export function isOver({ state }: Pick<OperationRecord, "state">): boolean {
  return state === "done" || state === "failed" || state === "abandoned";
}

/** An operation as an action works on it. */
export interface RunningOperation {
  readonly id: string;
  readonly action: ActionName;
  readonly blockId: string;
  readonly inputJson: string;
  readonly plan: Readonly<Record<string, unknown>>;
  /** It was begun before: what it asks for may be there, or gone, already. */
  readonly isResumed: boolean;
  /** Aborted when the agent stops. */
  readonly signal: AbortSignal;
  /** Whether the block's removal, or the node's by force, waits behind this one: nobody needs what it waits for. */
  isRemovalWaiting(): boolean;
  /** Why nobody wants this one any more, for people; undefined when somebody does. */
  whyUnwanted(): string | undefined;
  /** Tells an operation that is not over that nobody wants it any more; it ends, or is not begun. */
  cancel(id: string, why: string): void;
  /** Tells how far it has come; shown, and durable with the next write. */
  at(step: string, done?: number, total?: number): void;
}

/**
 * How an action is done. Both functions may be called again for the same operation after a crash or a failure at any
 * moment, from their beginning: everything that they do must come to the same end then. What they throw: a
 * `BerthError` of a passing reason is tried again unless it is a `FinalError`, any other one ends the operation.
 */
export interface Action {
  /** Does it; gives the result, JSON. */
  run(operation: RunningOperation): Promise<unknown>;
  /** Takes back what `run` did, completely or not at all done yet. */
  undo(operation: RunningOperation): Promise<void>;
}

/** All actions by name. */
export type Actions = Readonly<Record<ActionName, Action>>;
