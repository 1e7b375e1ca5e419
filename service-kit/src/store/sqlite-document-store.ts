import { randomUUID } from "node:crypto";
import type { DatabaseSync, SQLOutputValue } from "node:sqlite";
import type { Clock } from "../clock.ts";
import { BerthError } from "../errors.ts";
import { DamageScan } from "./damage-scan.ts";
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
import { isDamage, useFailure } from "./sqlite-failure.ts";
import { openSqliteFile } from "./sqlite-file.ts";

/** Checked at the opening up to this size: 0.3 s from memory, and up to 5 s from a cold cloud disk. */
const CHECKED_BYTES = 256 * 1024 * 1024;

type Row = Record<string, SQLOutputValue>;

/** How durable a store's writes are, and how it is opened. */
export interface SqliteStoreOptions {
  /**
   * "commit" (default): what `apply` has answered survives a power cut (synchronous FULL), and the file is
   * checked for damage when it is opened. "process": it survives the end of the process, a power cut may
   * take the newest writes (NORMAL), and damage is found where it is met; for history.
   */
  readonly durability?: "commit" | "process";
  /** Larger files (256 MiB by default) are looked through in the background instead, after the opening. */
  readonly checkedBytes?: number;
}

/**
 * Opens (and creates) a document store in one SQLite file, in WAL mode with an exclusive lock, so a
 * second program on the same file fails at start instead of corrupting the first's view. Throws
 * UNAVAILABLE with a message that names the file when it cannot be used, also for a file with a damaged
 * page; one that is found later, or only in the background, is what `storeId` rejects with from then on.
 */
export function openSqliteDocumentStore(
  file: string,
  clock: Clock,
  options: SqliteStoreOptions = {},
): DocumentStore {
  const { durability = "commit", checkedBytes = CHECKED_BYTES } = options;
  const isHistory = durability === "process";
  const { database, isChecked } = openSqliteFile(file, {
    synchronous: isHistory ? "NORMAL" : "FULL",
    checkedBytes: isHistory ? 0 : checkedBytes,
  });
  const store = new SqliteDocumentStore(file, database, clock);
  if (!isChecked && !isHistory) store.scan();
  return store;
}

class SqliteDocumentStore implements DocumentStore {
  readonly #file: string;
  readonly #database: DatabaseSync;
  readonly #clock: Clock;
  readonly #commits: GroupCommit;
  readonly #statements = new Map<string, ReturnType<DatabaseSync["prepare"]>>();
  #scan: DamageScan | undefined;
  /** The first damage that was met. */
  #damage: unknown;

  constructor(file: string, database: DatabaseSync, clock: Clock) {
    this.#file = file;
    this.#database = database;
    this.#clock = clock;
    this.#commits = new GroupCommit(database);
  }

  /** Begins to look for damage in the background. */
  scan(): void {
    this.#scan = new DamageScan(this.#database, (thrown) => this.#failure("read", thrown));
  }

  async storeId(): Promise<string> {
    if (this.#damage !== undefined) throw this.#damage;
    const select = "SELECT value FROM meta WHERE key = 'store_id'";
    return this.#read(() => String(this.#sql(select).get()?.value));
  }

  async get<T>(key: DocumentKey): Promise<StoredDocument<T> | undefined> {
    const select = "SELECT * FROM documents WHERE org_id = ? AND collection = ? AND id = ?";
    const row = this.#read(() => this.#sql(select).get(key.orgId, key.collection, key.id));
    return row === undefined ? undefined : this.#toDocument<T>(row);
  }

  async list<T>(
    { orgId, collection }: Omit<DocumentKey, "id">,
    page: ListPage = {},
  ): Promise<readonly StoredDocument<T>[]> {
    const limit = page.limit ?? -1;
    const [behind, order] = page.descending ? ["<", "DESC"] : [">", "ASC"];
    const select = "SELECT * FROM documents WHERE org_id = ? AND collection = ?";
    const behindId = page.after === undefined ? "" : ` AND id ${behind} ?`;
    const values = [orgId, collection, ...(page.after === undefined ? [] : [page.after]), limit];
    const rows = this.#read(() =>
      this.#sql(`${select}${behindId} ORDER BY id ${order} LIMIT ?`).all(...values),
    );
    return rows.map((row) => this.#toDocument<T>(row));
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
      throw this.#failure("written", thrown);
    }
  }

  async sizeBytes(): Promise<number> {
    const pragma = (name: string) => Number(this.#sql(`PRAGMA ${name}`).get()?.[name]);
    return this.#read(
      () => (pragma("page_count") - pragma("freelist_count")) * pragma("page_size"),
    );
  }

  async close(): Promise<void> {
    if (!this.#database.isOpen) return;
    this.#scan?.stop();
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

  #read<T>(work: () => T): T {
    try {
      return work();
    } catch (thrown) {
      throw this.#failure("read", thrown);
    }
  }

  /** What a client is told; damage is remembered. */
  #failure(use: "read" | "written", thrown: unknown): unknown {
    const failure = useFailure(this.#file, use, thrown);
    if (isDamage(thrown)) this.#damage ??= failure;
    return failure;
  }

  #toDocument<T>(row: Row): StoredDocument<T> {
    return {
      orgId: String(row.org_id),
      collection: String(row.collection),
      id: String(row.id),
      revision: Number(row.revision),
      body: this.#bodyOf(row) as T,
      createdAt: String(row.created_at),
      updatedAt: String(row.updated_at),
    };
  }

  #bodyOf({ collection, id, body }: Row): unknown {
    try {
      if (typeof body === "string") return JSON.parse(body);
      throw new TypeError("a damaged row has a body of another type");
    } catch {
      // Without its cause: a parser's message quotes the document, which is not for the log.
      const what = `document ${collection}/${id} is no JSON`;
      throw new BerthError("UNAVAILABLE", `the database ${this.#file} is damaged: ${what}`);
    }
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
