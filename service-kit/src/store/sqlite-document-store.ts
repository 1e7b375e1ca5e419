import { randomUUID } from "node:crypto";
import path from "node:path";
import { DatabaseSync, type SQLOutputValue } from "node:sqlite";
import type { Clock } from "../clock.ts";
import { BerthError } from "../errors.ts";
import { makeDirectory } from "../make-directory.ts";
import type {
  ApplyOutcome,
  DocumentKey,
  DocumentStore,
  ListPage,
  RenewOutcome,
  StoredDocument,
  Write,
} from "./document-store.ts";
import { GroupCommit, type WorkResult } from "./group-commit.ts";

const SCHEMA_VERSION = 1;
const SQLITE_BUSY = 5;
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS documents (
    org_id TEXT NOT NULL, collection TEXT NOT NULL, id TEXT NOT NULL,
    revision INTEGER NOT NULL, body TEXT NOT NULL,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    PRIMARY KEY (org_id, collection, id)
  ) STRICT, WITHOUT ROWID;
`;

type Row = Record<string, SQLOutputValue>;

/** How durable a store's writes are. */
export interface SqliteStoreOptions {
  /**
   * "commit" (default): what `apply` has answered survives a power cut (synchronous FULL). "process": it
   * survives the end of the process, and a power cut may take the newest writes (NORMAL), for history.
   */
  readonly durability?: "commit" | "process";
}

/**
 * Opens (and creates) a document store in one SQLite file, in WAL mode with an exclusive lock, so a
 * second program on the same file fails at start instead of corrupting the first's view. Throws
 * UNAVAILABLE with a message that names the file when it cannot be used.
 */
export function openSqliteDocumentStore(
  file: string,
  clock: Clock,
  options: SqliteStoreOptions = {},
): DocumentStore {
  try {
    makeDirectory(path.dirname(file));
    const database = new DatabaseSync(file, { timeout: 2_000 });
    try {
      prepareFile(database, options.durability === "process" ? "NORMAL" : "FULL");
    } catch (thrown) {
      database.close();
      throw thrown;
    }
    return new SqliteDocumentStore(database, clock);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const busy = (cause as { errcode?: unknown }).errcode === SQLITE_BUSY;
    const hint = busy ? "another program has it open" : why;
    throw new BerthError("UNAVAILABLE", `cannot open the database ${file}: ${hint}`, { cause });
  }
}

function prepareFile(database: DatabaseSync, synchronous: "FULL" | "NORMAL"): void {
  database.exec(
    `PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=${synchronous};`,
  );
  const version = Number(database.prepare("PRAGMA user_version").get()?.user_version);
  if (version > SCHEMA_VERSION) {
    throw new Error(
      `its schema version ${version} is newer than ${SCHEMA_VERSION}: upgrade Berth, or use another data directory`,
    );
  }
  database.exec(`BEGIN IMMEDIATE; ${SCHEMA} PRAGMA user_version=${SCHEMA_VERSION}; COMMIT;`);
  database
    .prepare("INSERT INTO meta (key, value) VALUES ('store_id', ?) ON CONFLICT DO NOTHING")
    .run(randomUUID());
}

class SqliteDocumentStore implements DocumentStore {
  readonly #database: DatabaseSync;
  readonly #clock: Clock;
  readonly #commits: GroupCommit;
  readonly #statements = new Map<string, ReturnType<DatabaseSync["prepare"]>>();

  constructor(database: DatabaseSync, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
    this.#commits = new GroupCommit(database);
  }

  async storeId(): Promise<string> {
    return String(this.#sql("SELECT value FROM meta WHERE key = 'store_id'").get()?.value);
  }

  async get<T>(key: DocumentKey): Promise<StoredDocument<T> | undefined> {
    const row = this.#sql(
      "SELECT * FROM documents WHERE org_id = ? AND collection = ? AND id = ?",
    ).get(key.orgId, key.collection, key.id);
    return row === undefined ? undefined : toDocument<T>(row);
  }

  async list<T>(
    { orgId, collection }: Omit<DocumentKey, "id">,
    page: ListPage = {},
  ): Promise<readonly StoredDocument<T>[]> {
    const limit = page.limit ?? -1;
    const [behind, order] = page.descending ? ["<", "DESC"] : [">", "ASC"];
    const select = "SELECT * FROM documents WHERE org_id = ? AND collection = ?";
    const rows =
      page.after === undefined
        ? this.#sql(`${select} ORDER BY id ${order} LIMIT ?`).all(orgId, collection, limit)
        : this.#sql(`${select} AND id ${behind} ? ORDER BY id ${order} LIMIT ?`).all(
            orgId,
            collection,
            page.after,
            limit,
          );
    return rows.map((row) => toDocument<T>(row));
  }

  async apply(writes: readonly Write[]): Promise<ApplyOutcome> {
    return this.#transact(writes, () => undefined);
  }

  async renewStoreId(writes: readonly Write[]): Promise<RenewOutcome> {
    const storeId = randomUUID();
    const outcome = await this.#transact(writes, () => {
      this.#sql("UPDATE meta SET value = ? WHERE key = 'store_id'").run(storeId);
    });
    return outcome.kind === "applied" ? { kind: "renewed", storeId } : outcome;
  }

  async raise(counter: string): Promise<number> {
    return this.#durably(() => {
      const row = this.#sql(
        `INSERT INTO counters (name, value) VALUES (?, 1)
         ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value`,
      ).get(counter);
      return { value: Number(row?.value), keep: true };
    });
  }

  #transact(writes: readonly Write[], last: () => void): Promise<ApplyOutcome> {
    const prepared = writes.map(toPrepared);
    return this.#durably<ApplyOutcome>(() => {
      for (const write of prepared) {
        const why = this.#write(write);
        if (why !== undefined) {
          return { value: { kind: "refused", key: write.key, why }, keep: false };
        }
      }
      last();
      return { value: { kind: "applied" }, keep: true };
    });
  }

  async #durably<T>(work: () => WorkResult<T>): Promise<T> {
    if (!this.#database.isOpen) throw new Error("the store is closed");
    try {
      return await this.#commits.run(work);
    } catch (thrown) {
      throw writeFailure(thrown);
    }
  }

  async sizeBytes(): Promise<number> {
    const pragma = (name: string) => Number(this.#sql(`PRAGMA ${name}`).get()?.[name]);
    return (pragma("page_count") - pragma("freelist_count")) * pragma("page_size");
  }

  async close(): Promise<void> {
    if (!this.#database.isOpen) return;
    this.#commits.flush();
    this.#database.close();
  }

  #write(write: PreparedWrite): "exists" | "missing" | "revision" | undefined {
    const { orgId, collection, id } = write.key;
    const now = this.#clock.timestamp();
    if (write.kind === "insert") {
      const { changes } = this.#sql(
        "INSERT INTO documents VALUES (?, ?, ?, 1, ?, ?, ?) ON CONFLICT DO NOTHING",
      ).run(orgId, collection, id, write.text, now, now);
      return changes === 1 ? undefined : "exists";
    }
    const current = this.#sql(
      "SELECT revision FROM documents WHERE org_id = ? AND collection = ? AND id = ?",
    ).get(orgId, collection, id);
    if (current === undefined) return "missing";
    if (write.ifRevision !== undefined && write.ifRevision !== current.revision) {
      return "revision";
    }
    if (write.kind === "delete") {
      this.#sql("DELETE FROM documents WHERE org_id = ? AND collection = ? AND id = ?").run(
        orgId,
        collection,
        id,
      );
    } else {
      this.#sql(
        `UPDATE documents SET revision = revision + 1, body = ?, updated_at = ?
         WHERE org_id = ? AND collection = ? AND id = ?`,
      ).run(write.text, now, orgId, collection, id);
    }
    return undefined;
  }

  #sql(text: string): ReturnType<DatabaseSync["prepare"]> {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = this.#database.prepare(text);
      this.#statements.set(text, statement);
    }
    return statement;
  }
}

/** A write with its body as text: what was given is what is written, whatever becomes of the object. */
interface PreparedWrite {
  readonly kind: Write["kind"];
  readonly key: DocumentKey;
  /** Empty for a deletion. */
  readonly text: string;
  readonly ifRevision: number | undefined;
}

function toPrepared(write: Write): PreparedWrite {
  const { kind, key } = write;
  const text = kind === "delete" ? "" : JSON.stringify(write.body);
  return { kind, key, text, ifRevision: kind === "insert" ? undefined : write.ifRevision };
}

/** What SQLite says of the disk is for the client too: nothing was written, and why. */
function writeFailure(thrown: unknown): unknown {
  if (!(thrown instanceof Error && "errcode" in thrown)) return thrown;
  const message = `the database cannot be written: ${thrown.message}`;
  return new BerthError("UNAVAILABLE", message, { cause: thrown });
}

function toDocument<T>(row: Row): StoredDocument<T> {
  return {
    orgId: String(row.org_id),
    collection: String(row.collection),
    id: String(row.id),
    revision: Number(row.revision),
    body: JSON.parse(String(row.body)) as T,
    createdAt: String(row.created_at),
    updatedAt: String(row.updated_at),
  };
}
