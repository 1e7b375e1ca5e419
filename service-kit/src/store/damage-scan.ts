import type { DatabaseSync, SQLOutputValue } from "node:sqlite";

/** Characters of documents that are read at a time, one document at least: some milliseconds on a cold disk. */
const TURN_LENGTH = 256 * 1024;
/** Between two turns, for everything else that the process does. */
const PAUSE_MS = 10;

/**
 * Reads every document once, a few at a time, in the background: a page that SQLite cannot read is found
 * though nobody asks for what lies on it. For a file that is too large to be checked while its program starts.
 */
export class DamageScan {
  readonly #database: DatabaseSync;
  readonly #found: (thrown: unknown) => void;
  #timer: NodeJS.Timeout | undefined;
  #behind: readonly SQLOutputValue[] = ["", "", ""];

  /** `found` gets what SQLite throws, once; the scan ends there. */
  constructor(database: DatabaseSync, found: (thrown: unknown) => void) {
    this.#database = database;
    this.#found = found;
    this.#later();
  }

  /** Call before the database is closed. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  #later(): void {
    this.#timer = setTimeout(() => this.#turn(), PAUSE_MS);
    this.#timer.unref();
  }

  #turn(): void {
    try {
      if (this.#readSome()) this.#later();
    } catch (thrown) {
      this.#found(thrown);
    }
  }

  /** Whether there is more. */
  #readSome(): boolean {
    let read = 0;
    // The length of a text is known only when all of its pages are read.
    const rows = this.#database
      .prepare(
        `SELECT org_id, collection, id, length(body) AS length FROM documents
         WHERE (org_id, collection, id) > (?, ?, ?) ORDER BY org_id, collection, id`,
      )
      .iterate(...this.#behind);
    for (const { org_id = "", collection = "", id = "", length } of rows) {
      this.#behind = [org_id, collection, id];
      read += Number(length);
      if (read >= TURN_LENGTH) return true;
    }
    return false;
  }
}
