import type { Command } from "@berth/proto";

/** What carries out an order. */
export interface OrderContext {
  readonly commandId: string;
  /** The command was begun before, by a process that did not come to its result. */
  readonly resumed: boolean;
  /** What the handler kept with the command so far. */
  readonly memory: Readonly<Record<string, unknown>>;
  /** Store and term that gave the order; the term is decimal. */
  readonly fence: { readonly storeId: string; readonly controllerTerm: string };
  /** Time for the answer when it was begun, ms. */
  readonly timeLeftMs: number;
  /** Aborted when the command's time is over, or when the agent stops. */
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
