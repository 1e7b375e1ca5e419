import type { Command } from "@berth/proto";

/** Longest text of an Echo, bytes. */
export const MAX_ECHO_BYTES = 1_024;

/** What carries out an order. */
export interface OrderContext {
  /** The command was begun before, by a process that did not come to its result. */
  readonly resumed: boolean;
  /** What the handler kept with the command so far. */
  readonly memory: Readonly<Record<string, unknown>>;
  /** Aborted when the command's time is over. */
  readonly signal: AbortSignal;
}

/** What a handler did. `memory` becomes durable in the same transaction as the result. */
export type OrderOutcome =
  | {
      readonly kind: "result";
      readonly json: string;
      readonly memory: Readonly<Record<string, unknown>>;
    }
  | { readonly kind: "refusal"; readonly reason: string; readonly message: string };

/** Carries out one kind of order; may be called again for the same command after a crash. */
export type OrderHandler = (
  order: Command["order"],
  context: OrderContext,
) => Promise<OrderOutcome>;

/** Handlers by the order's case. */
export type OrderHandlers = ReadonlyMap<string, OrderHandler>;

/** The orders that an agent carries out. */
export const ORDER_HANDLERS: OrderHandlers = new Map([["echo", echo]]);

/**
 * Answers with the same text. Its act is to raise the command's own run counter, which becomes durable
 * with the result: an answer other than 1 would show that a command ran twice.
 */
async function echo(order: Command["order"], { memory }: OrderContext): Promise<OrderOutcome> {
  if (order.case !== "echo") {
    return { kind: "refusal", reason: "INVALID_ARGUMENT", message: "order: expected echo" };
  }
  const { text } = order.value;
  if (Buffer.byteLength(text) > MAX_ECHO_BYTES) {
    const message = `echo.text: expected at most ${MAX_ECHO_BYTES} bytes`;
    return { kind: "refusal", reason: "INVALID_ARGUMENT", message };
  }
  const before = typeof memory.runs === "number" ? memory.runs : 0;
  const runs = before + 1;
  return { kind: "result", json: JSON.stringify({ text, runs }), memory: { runs } };
}
