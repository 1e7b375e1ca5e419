import { randomBytes } from "node:crypto";
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { CliError, errorCodeOf, messageOf } from "../cli-error.ts";

const SQLITE_BUSY = 5;
const TOKEN_PATTERN = /^[A-Za-z0-9_-]{43}$/;

/** Secrets of the enrolment tokens of this machine's agents: 32 random bytes each, base64url. */
export interface LinkTokens {
  /** With which the cluster-agent enrols at the control-plane. */
  readonly link: string;
  /** With which the node-agent enrols at the cluster-agent. */
  readonly node: string;
}

/** An open data directory. This process has it for itself until `release`, or until it dies. */
export interface DataDir {
  /** Absolute path. */
  readonly path: string;
  readonly tokens: LinkTokens;
  /** Directory of one program. */
  programDir(program: string): string;
  /** Log file of one program. */
  logPath(program: string): string;
  /** Lets others use the directory. */
  release(): void;
}

/** Which directory to open, for which programs, and who asks (`pid` is shown to the next one). */
export interface DataDirRequest {
  readonly path: string;
  readonly programs: readonly string[];
  readonly pid: number;
}

/**
 * Creates the data directory where needed (0700), takes its lock and makes its tokens once (0600).
 * Throws a CliError when it cannot be written or another `berth up` uses it.
 */
export function openDataDir(request: DataDirRequest): DataDir {
  const { path } = request;
  const programDir = (program: string) => join(path, program);
  const logsDir = join(path, "logs");
  const tokensDir = join(path, "tokens");
  inDirectory(path, () => {
    makeDirectory(path);
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
  });
  const lock = takeLock(path);
  try {
    return inDirectory(path, () => {
      writeFileSync(join(path, "up.pid"), `${request.pid}\n`, { mode: 0o600 });
      const own = request.programs.map(programDir);
      for (const dir of [...own, logsDir, tokensDir]) makeDirectory(dir);
      return {
        path,
        tokens: { link: token(tokensDir, "link"), node: token(tokensDir, "node") },
        programDir,
        logPath: (program) => join(logsDir, `${program}.log`),
        release: () => {
          rmSync(join(path, "up.pid"), { force: true });
          lock.close();
        },
      };
    });
  } catch (thrown) {
    lock.close();
    throw thrown;
  }
}

/** Makes a directory and those above it. Node's own recursive mkdir never returns below /proc. */
function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  const parent = dirname(path);
  if (parent !== path) makeDirectory(parent);
  mkdirSync(path, { mode: 0o700 });
}

function inDirectory<T>(path: string, use: () => T): T {
  try {
    return use();
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw new CliError(
      `the data directory ${path} cannot be used (${messageOf(cause)}): choose another with --data-dir`,
      { cause },
    );
  }
}

/** SQLite's lock on a file is the system's: it goes with the process, however the process ends. */
function takeLock(path: string): DatabaseSync {
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(join(path, "up.lock"), { timeout: 0 });
    lock.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
    return lock;
  } catch (cause) {
    lock?.close();
    if (cause instanceof Error && "errcode" in cause && cause.errcode === SQLITE_BUSY) {
      throw new CliError(
        `the data directory ${path} is used by another \`berth up\`${holder(path)}: stop that one, or choose another with --data-dir`,
        { cause },
      );
    }
    throw new CliError(
      `the data directory ${path} cannot be locked (up.lock: ${messageOf(cause)}): choose another with --data-dir`,
      { cause },
    );
  }
}

function holder(path: string): string {
  const file = join(path, "up.pid");
  if (!existsSync(file)) return "";
  const pid = readFileSync(file, "utf8").trim();
  return /^\d{1,10}$/.test(pid) ? ` (process ${pid})` : "";
}

function token(dir: string, name: string): string {
  const path = join(dir, name);
  const known = readToken(path);
  if (known !== undefined) {
    chmodSync(path, 0o600);
    return known;
  }
  const made = randomBytes(32).toString("base64url");
  // Written apart and renamed, so that a crash leaves a whole token or none.
  writeFileSync(`${path}.new`, `${made}\n`, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
  return made;
}

function readToken(path: string): string | undefined {
  try {
    const text = readFileSync(path, "utf8").trim();
    if (TOKEN_PATTERN.test(text)) return text;
  } catch (thrown) {
    if (errorCodeOf(thrown) === "ENOENT") return undefined;
    throw thrown;
  }
  throw new CliError(
    `${path}: expected 43 base64url characters: remove the file to have a new token made`,
  );
}
