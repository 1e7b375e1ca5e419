import type { DocumentStore } from "@berth/service-kit";
import { echoHandler } from "./echo-handler.ts";
import type { OrderHandlers } from "./order-handler.ts";
import { openRunRecords } from "./run-records.ts";

/** Opens the orders that an agent carries out, with what they keep in its store. */
export async function openOrderHandlers(
  store: DocumentStore,
  orgId: string,
): Promise<OrderHandlers> {
  const runs = await openRunRecords({ store, orgId });
  return new Map([["echo", echoHandler(runs)]]);
}
