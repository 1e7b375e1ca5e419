import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { open } from "node:fs/promises";
import type { KnownProcess } from "./instance-record.ts";
import { parseStat } from "./proc-text.ts";

/** A program to start. */
export interface ProgramStart {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Gets what it writes to standard output and error. */
  readonly logFile: string;
  /** Directory that it starts in; the agent's own when undefined. */
  readonly workingDir: string | undefined;
  /** Asked last: nothing comes between the answer and the start. */
  readonly isWanted: () => boolean;
}

/** What became of a start. */
export type StartOutcome =
  | { readonly kind: "unwanted" }
  /** The message says why, for people: "cannot be started: spawn no-such-program ENOENT". */
  | { readonly kind: "failed"; readonly message: string }
  | {
      readonly kind: "started";
      readonly process: KnownProcess;
      /** How it ended, for people: "ended with exit code 1". */
      readonly ended: Promise<string>;
    };

/**
 * Starts a program that outlives the agent: leader of a session of its own, standard input from /dev/null, output to the
 * log file, no other descriptor. It is our child all the same, so that its end is told.
 */
export async function startProgram(start: ProgramStart): Promise<StartOutcome> {
  const { command, environment, logFile, workingDir, isWanted } = start;
  const [program = "", ...programArguments] = command;
  const log = await open(logFile, "a", 0o600);
  try {
    if (!isWanted()) return { kind: "unwanted" };
    const child = spawn(program, programArguments, {
      detached: true,
      stdio: ["ignore", log.fd, log.fd],
      env: { ...environment },
      cwd: workingDir,
    });
    // Before anything else runs: the process may end, but its entry stays until Node has heard of it.
    const known = identityOf(child);
    const ended = endOf(child);
    child.unref();
    if (known === undefined) return { kind: "failed", message: await ended };
    return { kind: "started", process: known, ended };
  } catch (thrown) {
    if (!(thrown instanceof Error)) throw thrown;
    return { kind: "failed", message: `cannot be started: ${thrown.message.slice(0, 200)}` };
  } finally {
    await log.close();
  }
}

function identityOf({ pid }: ChildProcess): KnownProcess | undefined {
  if (pid === undefined) return undefined;
  const stat = parseStat(readFileSync(`/proc/${pid}/stat`, "latin1"));
  if (stat === undefined) throw new Error(`/proc/${pid}/stat is not as expected`);
  return { pid, startTicks: stat.startTicks };
}

function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once("error", (error) => resolve(`cannot be started: ${error.message.slice(0, 200)}`));
    child.once("exit", (code, name) => {
      resolve(name === null ? `ended with exit code ${code}` : `was ended by ${name}`);
    });
  });
}
