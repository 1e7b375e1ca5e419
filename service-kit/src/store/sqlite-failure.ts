import { BerthError, isBerthError } from "../errors.ts";

// Primary result codes, https://www.sqlite.org/rescode.html; the extended ones have more bits above them.
const PRIMARY_CODE = 0xff;
const SQLITE_BUSY = 5;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

const WAY_OUT = "restore it from a backup, or move it away to begin anew";

/** Why a database is not opened: what a check of it has found, before anything is read of it. */
export class DamageFound extends Error {}

/**
 * What SQLite says of a file that could not be opened, as UNAVAILABLE with the file's name and, where it
 * is the file's fault, what to do with it. The same for anything else that was thrown.
 */
export function openFailure(file: string, thrown: unknown): BerthError {
  const message = `cannot open the database ${file}: ${whyNotOpened(thrown)}`;
  return new BerthError("UNAVAILABLE", message, { cause: thrown });
}

function whyNotOpened(thrown: unknown): string {
  const why = thrown instanceof Error ? thrown.message : String(thrown);
  if (thrown instanceof DamageFound || codeOf(thrown) === SQLITE_CORRUPT) {
    return `damaged: ${why}; ${WAY_OUT}`;
  }
  if (codeOf(thrown) === SQLITE_NOTADB) return `${why}; ${WAY_OUT}`;
  return codeOf(thrown) === SQLITE_BUSY ? "another program has it open" : why;
}

/**
 * What SQLite says while a database is in use, as UNAVAILABLE with the file's name, so that clients read it
 * too. Anything else that was thrown is given back as it is.
 */
export function useFailure(file: string, use: "read" | "written", thrown: unknown): unknown {
  const code = codeOf(thrown);
  if (isBerthError(thrown) || code === undefined) return thrown;
  const why = thrown instanceof Error ? thrown.message : String(thrown);
  const what = isDamage(thrown) ? "is damaged" : `cannot be ${use}`;
  return new BerthError("UNAVAILABLE", `the database ${file} ${what}: ${why}`, { cause: thrown });
}

/** Whether SQLite says that the file's content is broken, which does not pass by itself. */
export function isDamage(thrown: unknown): boolean {
  const code = codeOf(thrown);
  return code === SQLITE_CORRUPT || code === SQLITE_NOTADB;
}

/** SQLite's primary result code, undefined for what did not come from it. */
function codeOf(thrown: unknown): number | undefined {
  if (!(thrown instanceof Error && "errcode" in thrown)) return undefined;
  return typeof thrown.errcode === "number" ? thrown.errcode & PRIMARY_CODE : undefined;
}
