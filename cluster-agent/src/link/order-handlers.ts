import type { DocumentStore } from "@berth/service-kit";
import { callHandler, type OwnApi } from "./call-handler.ts";
import { echoHandler } from "./echo-handler.ts";
import type { OrderHandlers } from "./order-handler.ts";
import { openRunRecords } from "./run-records.ts";

/** Opens the orders that an agent carries out, with what they keep in its store. `api` is the agent's own. */
export async function openOrderHandlers(deps: {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly api: OwnApi;
}): Promise<OrderHandlers> {
  const runs = await openRunRecords(deps);
  return new Map([
    ["echo", echoHandler(runs)],
    ["call", callHandler(deps.api)],
  ]);
}
