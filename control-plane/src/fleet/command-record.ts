import {
  BerthError,
  ERROR_TABLE,
  isJsonObject,
  jsonDepth,
  MAX_JSON_DEPTH,
  memberOf,
  type Reason,
  wholeOf,
} from "@berth/service-kit";
import type { StoreFence } from "./store-verdict.ts";

/** Asks the agent to answer with the same text. */
export interface EchoOrder {
  readonly kind: "echo";
  /** At most 1 KiB of UTF-8. */
  readonly text: string;
  /** Time between carrying it out and the answer, ms, at most 60,000. */
  readonly holdMs: number;
}

/** Asks the REST API that the agent serves. */
export interface CallOrder {
  readonly kind: "call";
  readonly method: string;
  /** With its query. */
  readonly path: string;
  /** JSON text, "" without one; it may hold secrets, so it is kept only until the command is answered or expired. */
  readonly bodyJson: string;
  /** Size of the body, which stays. */
  readonly bodyBytes: number;
}

/** What a command asks for. */
export type Order = EchoOrder | CallOrder;

/** An order as the store keeps it; those of older versions have no `holdMs`. */
export type StoredOrder =
  | (Omit<EchoOrder, "holdMs"> & Partial<Pick<EchoOrder, "holdMs">>)
  | CallOrder;

/** An order from the store. */
export function orderOf(stored: StoredOrder): Order {
  return stored.kind === "call" ? stored : { ...stored, holdMs: stored.holdMs ?? 0 };
}

/** Whether an order leaves everything as it is, so that it may be asked again though it may have been answered. */
export function changesNothing(order: Order): boolean {
  if (order.kind !== "call") return false;
  const { method, path, bodyJson } = order;
  if (method === "GET") return true;
  return method === "POST" && path === "/executeAction" && isDryRun(bodyJson);
}

/** An action may stand within `data`, and wins there: then it is not taken for a dry run. */
function isDryRun(bodyJson: string): boolean {
  try {
    const body: unknown = JSON.parse(bodyJson);
    return isJsonObject(body) && body.action === "dry_run" && body.data === undefined;
  } catch {
    return false;
  }
}

/** A command that nobody offers any more, without what may be secret in it. */
export function withoutBody(body: CommandBody): CommandBody {
  const { order } = body;
  return order.kind === "call" ? { ...body, order: { ...order, bodyJson: "" } } : body;
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

/** A command after its answer, of which only status and size are kept when it is that of a {@link CallOrder}. */
export function answered(body: CommandBody, answer: CommandAnswer, now: string): CommandBody {
  const isLong = body.order.kind === "call" && answer.kind === "completed";
  return {
    ...withoutBody(body),
    state: answer.kind,
    answer: isLong ? { ...answer, resultJson: statusAndSize(answer.resultJson) } : answer,
    finishedAt: now,
    ...(body.state === "expired" ? { isLate: true } : {}),
  };
}

function statusAndSize(resultJson: string): string {
  const whole = wholeOf(resultJson);
  const status = resultJson.startsWith("{") ? memberOf(resultJson, whole, "status") : undefined;
  const text = status === undefined ? "null" : resultJson.slice(status.start, status.end);
  return `{"status":${text},"bytes":${Buffer.byteLength(resultJson)}}`;
}

/** The reason that an agent gave; agents of other versions may refuse for reasons that this one does not know. */
export function reasonOf(text: string): Reason {
  return Object.hasOwn(ERROR_TABLE, text) ? (text as Reason) : "UNAVAILABLE";
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
