import { randomUUID } from "node:crypto";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { makeDirectory } from "../make-directory.ts";
import { DamageFound, openFailure } from "./sqlite-failure.ts";

const SCHEMA_VERSION = 1;
const BUSY_LIMIT_MS = 2_000;
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

/** How {@link openSqliteFile} opens a file. */
export interface SqliteFileOptions {
  /** When SQLite waits for the disk: at each commit, or at checkpoints only. */
  readonly synchronous: "FULL" | "NORMAL";
  /** A file of at most so many bytes is checked for damage before anything is read of it. */
  readonly checkedBytes: number;
}

/** An open file with the tables of a document store. */
export interface SqliteFile {
  readonly database: DatabaseSync;
  /** Whether all of it was looked at; it was larger than `checkedBytes` otherwise. */
  readonly isChecked: boolean;
}

/**
 * Opens (and creates) a SQLite file with the tables of a document store, in WAL mode with an exclusive
 * lock. Throws UNAVAILABLE with a message that names the file when it cannot be used: damaged, foreign, of
 * a newer schema, open in another program, on a full disk.
 */
export function openSqliteFile(file: string, options: SqliteFileOptions): SqliteFile {
  try {
    makeDirectory(path.dirname(file));
    const database = new DatabaseSync(file, { timeout: BUSY_LIMIT_MS });
    try {
      return { database, isChecked: prepareFile(database, options) };
    } catch (thrown) {
      database.close();
      throw thrown;
    }
  } catch (thrown) {
    throw openFailure(file, thrown);
  }
}

/** Bytes of the file's pages, also of free ones. */
function fileBytes(database: DatabaseSync): number {
  return pragma(database, "page_count") * pragma(database, "page_size");
}

/** Gives whether the file was checked. */
function prepareFile(
  database: DatabaseSync,
  { synchronous, checkedBytes }: SqliteFileOptions,
): boolean {
  database.exec(
    `PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=${synchronous};`,
  );
  const version = pragma(database, "user_version");
  if (version > SCHEMA_VERSION) {
    throw new Error(
      `its schema version ${version} is newer than ${SCHEMA_VERSION}: upgrade Berth, or use another data directory`,
    );
  }
  const isChecked = fileBytes(database) <= checkedBytes;
  if (isChecked) quickCheck(database);
  database.exec(`BEGIN IMMEDIATE; ${SCHEMA} PRAGMA user_version=${SCHEMA_VERSION}; COMMIT;`);
  database
    .prepare("INSERT INTO meta (key, value) VALUES ('store_id', ?) ON CONFLICT DO NOTHING")
    .run(randomUUID());
  return isChecked;
}

/** Looks at each page; throws the first thing that is wrong. */
function quickCheck(database: DatabaseSync): void {
  const found = String(database.prepare("PRAGMA quick_check(1)").get()?.quick_check);
  if (found === "ok") return;
  // "*** in database main ***" stands above the finding.
  const line = found.split("\n").find((text) => text !== "" && !text.startsWith("***"));
  throw new DamageFound(line ?? found);
}

function pragma(database: DatabaseSync, name: string): number {
  return Number(database.prepare(`PRAGMA ${name}`).get()?.[name]);
}
