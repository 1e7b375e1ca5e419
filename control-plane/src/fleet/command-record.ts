import { BerthError, jsonDepth, MAX_JSON_DEPTH } from "@berth/service-kit";
import type { StoreFence } from "./store-verdict.ts";

/** What a command asks for. */
export type Order = {
  readonly kind: "echo";
  /** At most 1 KiB of UTF-8. */
  readonly text: string;
  /** Time between carrying it out and the answer, ms, at most 60,000. */
  readonly holdMs: number;
};

/** An order as the store keeps it; those of older versions have no `holdMs`. */
export type StoredOrder = Omit<Order, "holdMs"> & Partial<Pick<Order, "holdMs">>;

/** An order from the store. */
export function orderOf(stored: StoredOrder): Order {
  return { ...stored, holdMs: stored.holdMs ?? 0 };
}

/** Where a command stands. `expired`: no answer in its time; an answer that comes later is still recorded. */
export type CommandState = "pending" | "completed" | "refused" | "expired";

/** Every {@link CommandState}. */
export const COMMAND_STATES: readonly CommandState[] = [
  "pending",
  "completed",
  "refused",
  "expired",
];

/** What came of a command. */
export type CommandAnswer =
  | {
      readonly kind: "completed";
      /** JSON text as the agent wrote it. */
      readonly resultJson: string;
      /** Ledger revision after the command, decimal. */
      readonly ledgerRevision: string;
    }
  | { readonly kind: "refused"; readonly reason: string; readonly message: string };

/** A command as the store keeps it. */
export interface CommandBody {
  readonly clusterId: string;
  readonly order: StoredOrder;
  /** Store that gave the order. */
  readonly storeId: string;
  readonly state: CommandState;
  readonly timeoutMs: number;
  /** ISO 8601, on this machine's wall clock: a deadline has to outlive a restart. */
  readonly deadlineAt: string;
  /**
   * Term id under which it was last offered, which no other order was: an agent that knows only older ones has not
   * been given it. Absent when it was never offered.
   */
  readonly offeredUnder?: string;
  readonly answer?: CommandAnswer;
  /** The answer came after the deadline. */
  readonly isLate?: true;
  /** ISO 8601. */
  readonly finishedAt?: string;
}

/** A command with its id. */
export interface CommandRecord extends CommandBody {
  readonly order: Order;
  readonly commandId: string;
  /** ISO 8601. */
  readonly createdAt: string;
}

/** What sending a command gave. */
export type CommandOutcome =
  | (CommandAnswer & { readonly commandId: string })
  | { readonly kind: "expired"; readonly commandId: string }
  /** The caller stopped waiting; the command stays valid until its deadline. */
  | { readonly kind: "abandoned"; readonly commandId: string };

/** What goes to an agent on its Commands stream. */
export type Offer =
  | ({ readonly kind: "order" } & OfferedOrder)
  /** News of the term, for the fence that the agent was told. */
  | { readonly kind: "term"; readonly termId: string };

/** An order as it goes to the agent, once per stream. */
export interface OfferedOrder {
  readonly commandId: string;
  readonly order: Order;
  readonly fence: StoreFence;
  /** Time left, ms, at least 1. */
  readonly timeoutMs: number;
}

/** A command after its answer. */
export function answered(body: CommandBody, answer: CommandAnswer, now: string): CommandBody {
  return {
    ...body,
    state: answer.kind,
    answer,
    finishedAt: now,
    ...(body.state === "expired" ? { isLate: true } : {}),
  };
}

/** Time that a command has left by the wall clock, in ms, within 0 and its timeout: clocks jump. */
export function wallTimeLeftMs(body: CommandBody, now: string): number {
  const left = Date.parse(body.deadlineAt) - Date.parse(now);
  return Math.min(body.timeoutMs, Math.max(0, Number.isFinite(left) ? left : 0));
}

/** Answer of an order that an agent may have carried out before its state was restored from an older copy. */
export const UNKNOWN_FATE: CommandAnswer = {
  kind: "refused",
  reason: "CONFLICT",
  message:
    "the agent was removed, or came back with an older copy of its state, or died as this reached it, so nobody knows whether this ran; look, and give the order again",
};

/** Answer of an order of a store whose place another one has taken. */
export function formerStore(storeId: string): CommandAnswer {
  const message = `the order was given by the former store ${storeId}; give it again`;
  return { kind: "refused", reason: "PRECONDITION_FAILED", message };
}

/**
 * Refuses a result that is nested too deep, with INVALID_ARGUMENT: whoever reads it back with its numbers as they
 * were written recurses.
 */
export function checkDepth(answer: CommandAnswer): void {
  if (answer.kind !== "completed") return;
  if (jsonDepth(JSON.parse(answer.resultJson)) <= MAX_JSON_DEPTH) return;
  const message = `result_json: expected at most ${MAX_JSON_DEPTH} levels of arrays and objects`;
  throw new BerthError("INVALID_ARGUMENT", message);
}
