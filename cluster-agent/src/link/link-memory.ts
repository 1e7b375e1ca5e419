import type { Clock, DocumentStore, Logger } from "@berth/service-kit";
import type { OwnApi } from "./call-handler.ts";
import { openCommandJournal } from "./command-journal.ts";
import { CommandRunner } from "./command-runner.ts";
import { EventHold } from "./event-hold.ts";
import { type FenceStore, openFenceStore } from "./fence-store.ts";
import { openOrderHandlers } from "./order-handlers.ts";
import { type Outbox, openOutbox } from "./outbox.ts";
import { openStartHistory, type StartHistory } from "./start-history.ts";

/** What the link keeps in the agent's store. */
export interface LinkMemory {
  readonly fences: FenceStore;
  readonly starts: StartHistory;
  readonly outbox: Outbox;
  readonly eventHold: EventHold;
  readonly commands: CommandRunner;
}

/** Opens whom the agent obeys, its starts, the events on their way, and the commands that it has carried out. */
export async function openLinkMemory(deps: {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Asks the agent's own API, for orders that are requests to it. */
  readonly api: OwnApi;
  /** Revision of the cluster's ledger; 0 without one, which every order without a target fits. */
  readonly ledgerRevision: () => bigint;
}): Promise<LinkMemory> {
  const { store, orgId, clock, logger, ledgerRevision } = deps;
  const journal = await openCommandJournal({ store, orgId, clock });
  const handlers = await openOrderHandlers(deps);
  return {
    fences: await openFenceStore(store, orgId),
    starts: await openStartHistory(store, orgId),
    outbox: await openOutbox({ store, orgId, clock, logger }),
    eventHold: new EventHold({ clock, logger }),
    commands: new CommandRunner({ journal, handlers, ledgerRevision, clock, logger }),
  };
}
