import {
  type DocumentStore,
  type Logger,
  openSqliteDocumentStore,
  silentLogger,
} from "@berth/service-kit";
import type { BlockBook } from "../blocks/block-book.ts";
import { BOOK_LIMITS } from "../blocks/book-size.ts";
import { openBlockBook } from "../blocks/open-block-book.ts";
import { FaultyStore } from "./faulty-store.ts";
import { HandClock } from "./fixtures.ts";

const clock = new HandClock();

/** Who creates the blocks of a test. */
export const op1 = { operationId: "op-1" };

/** A store without documents, in memory, that can fail. */
export function emptyStore(): FaultyStore {
  return new FaultyStore(openSqliteDocumentStore(":memory:", clock));
}

/** The book that a store holds. */
export function open(
  store: DocumentStore,
  limits = BOOK_LIMITS,
  logger: Logger = silentLogger,
): Promise<BlockBook> {
  return openBlockBook({ store, orgId: "default_org", clock, logger, limits });
}

/** The book, and what a restart would find. */
export async function bookOn(store: DocumentStore, limits = BOOK_LIMITS) {
  return { book: await open(store, limits), reopened: () => open(store) };
}

/** All that a book holds. */
export function contents(book: BlockBook) {
  return { blocks: book.blocks(), instances: book.instances() };
}
