import {
  allPages,
  BerthError,
  type DocumentStore,
  isBerthError,
  type Logger,
  type StoredDocument,
  type Write,
} from "@berth/service-kit";
import { HoldIndex } from "./hold-index.ts";
import { type NodeBody, parseBody } from "./node-body.ts";
import { NodeBook, type WriteEnd } from "./node-book.ts";

const COLLECTION = "ledger_nodes";

/** What {@link NodeBooks} are kept in, and who hears of changes. */
export interface NodeBooksOptions {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly logger: Logger;
  /** What is on disk has changed. */
  readonly onDurable: () => void;
}

/** A new body for a node. */
export interface BookChange {
  readonly book: NodeBook;
  readonly body: NodeBody;
}

/** The books of all nodes, and their only way to the disk. */
export class NodeBooks {
  readonly index = new HoldIndex();
  readonly #options: NodeBooksOptions;
  readonly #books = new Map<string, NodeBook>();
  readonly #readings = new Map<NodeBook, Promise<void>>();

  constructor(options: NodeBooksOptions) {
    this.#options = options;
  }

  /** Reads all documents; called once. */
  async load(): Promise<void> {
    const { store, orgId } = this.#options;
    for await (const document of allPages(store, { orgId, collection: COLLECTION })) {
      this.#adopt(this.at(document.id), document);
    }
  }

  /** The book of a node, a blank one when nothing is held there. */
  at(nodeId: string): NodeBook {
    let book = this.#books.get(nodeId);
    if (book === undefined) {
      const key = { orgId: this.#options.orgId, collection: COLLECTION, id: nodeId };
      book = new NodeBook(key, this.index);
      this.#books.set(nodeId, book);
    }
    return book;
  }

  /** The book of a node; undefined when nothing is known of one. */
  find(nodeId: string): NodeBook | undefined {
    return this.#books.get(nodeId);
  }

  /** Every book, in no order. */
  all(): readonly NodeBook[] {
    return [...this.#books.values()];
  }

  /**
   * Writes new bodies in one transaction, with the writes that belong to it, and resolves when they are durable, with
   * all that they are computed on. Every book must be ready. Rejects with UNAVAILABLE, and then nobody knows whether
   * they were written until the books are {@link ready} again.
   */
  async commit(changes: readonly BookChange[], also: readonly Write[] = []): Promise<void> {
    const ends = Promise.withResolvers<WriteEnd>();
    const befores = changes.map(({ book }) => book.tail);
    const writes = changes.map(({ book, body }) => book.begin(body, ends.promise));
    const problems = await Promise.all([this.#apply([...writes, ...also]), ...befores]);
    const problem = problems.find((end) => end !== undefined);
    for (const { book, body } of changes) {
      book.end(problem === undefined ? body : undefined);
      this.#forgetBlank(book);
    }
    if (problem === undefined) this.#options.onDurable();
    ends.resolve(problem);
    if (problem !== undefined) throw problem;
  }

  /** Resolves when what the books say now is durable; rejects with UNAVAILABLE when it does not become so. */
  async settled(books: Iterable<NodeBook>): Promise<void> {
    const ends = await Promise.all([...books].map(({ tail }) => tail));
    const problem = ends.find((end) => end !== undefined);
    if (problem !== undefined) throw problem;
  }

  /** Resolves when nothing is under way in the book and it is known again; rejects with UNAVAILABLE when it is not. */
  async ready(book: NodeBook): Promise<void> {
    await book.tail;
    if (!book.isBroken || !book.isIdle) return;
    let reading = this.#readings.get(book);
    if (reading === undefined) {
      reading = this.#readAgain(book).finally(() => this.#readings.delete(book));
      this.#readings.set(book, reading);
    }
    await reading;
  }

  /** {@link ready} for all books, until nothing is under way. */
  async drain(): Promise<void> {
    for (;;) {
      const busy = this.all().filter((book) => !book.isIdle || !book.isReady);
      if (busy.length === 0) return;
      await Promise.all(busy.map((book) => this.ready(book)));
    }
  }

  async #apply(writes: readonly Write[]): Promise<WriteEnd> {
    try {
      const outcome = await this.#options.store.apply(writes);
      if (outcome.kind === "applied") return undefined;
      const { key, why } = outcome;
      return unavailable(`the document ${key.id} in ${key.collection} is not as expected: ${why}`);
    } catch (thrown) {
      return unavailable(`the ledger was not written: ${messageOf(thrown)}`, thrown);
    }
  }

  async #readAgain(book: NodeBook): Promise<void> {
    let document: StoredDocument | undefined;
    try {
      document = await this.#options.store.get(book.key);
    } catch (thrown) {
      const what = `the ledger of node ${book.nodeId} cannot be read again after a failed write`;
      throw unavailable(`${what}: ${messageOf(thrown)}`, thrown);
    }
    this.#adopt(book, document);
    this.#forgetBlank(book);
    this.#options.onDurable();
    this.#options.logger.warn("ledger of a node read again after a failed write", {
      node: book.nodeId,
      holds: book.durable.holds.size,
    });
  }

  #adopt(book: NodeBook, document: StoredDocument | undefined): void {
    if (document === undefined) {
      book.adopt(undefined);
      return;
    }
    const { body: stored, revision } = document;
    const parsed = parseBody(book.nodeId, stored);
    const why = parsed.kind === "damaged" ? parsed.why : this.#strayHold(book, parsed.body);
    if (parsed.kind === "body" && why === undefined) {
      book.adopt({ body: parsed.body, revision });
      return;
    }
    book.refuse(why ?? "it is not the ledger's");
    this.#options.logger.error("ledger of a node is damaged", { node: book.nodeId, why });
  }

  /** Names a hold whose id another node has too: one of the two documents is wrong. */
  #strayHold(book: NodeBook, { holds }: NodeBody): string | undefined {
    for (const id of holds.keys()) {
      const nodeId = this.index.nodeOf(id);
      if (nodeId === undefined || nodeId === book.nodeId) continue;
      // One that is to be read again may only have been meant to get it.
      const other = this.find(nodeId);
      const hasIt = other?.isBroken === false && other.durable.holds.has(id);
      if (hasIt) return `hold ${id} is on node ${nodeId} too`;
    }
    return undefined;
  }

  #forgetBlank(book: NodeBook): void {
    if (book.isBlank) this.#books.delete(book.nodeId);
  }
}

function unavailable(message: string, cause?: unknown): BerthError {
  return new BerthError("UNAVAILABLE", message, { cause });
}

function messageOf(thrown: unknown): string {
  return isBerthError(thrown) && thrown.reason !== "INTERNAL" ? thrown.message : "the store failed";
}
