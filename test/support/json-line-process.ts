import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** A program of the tests in a process of its own that tells its status in JSON lines. */
export interface JsonLineProcess<T> {
  readonly pid: number;
  /** The newest status; undefined before the first. Throws when the process has ended. */
  latest(): T | undefined;
  /** Closes its standard input and waits for its end; kills it after 15 s. */
  stop(): Promise<void>;
}

const STOP_LIMIT_MS = 15_000;

/** Starts a TypeScript file of this folder with one JSON argument. */
export function startJsonLineProcess<T>(file: string, options: object): JsonLineProcess<T> {
  const child = spawn(process.execPath, [file, JSON.stringify(options)], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  const exited = once(child, "exit");
  let latest: T | undefined;
  let complaint = "";
  createInterface({ input: child.stdout }).on("line", (line) => {
    latest = JSON.parse(line);
  });
  child.stderr.on("data", (chunk) => {
    complaint = (complaint + chunk).slice(-4_000);
  });
  // What is written to a process that has gone is nobody's loss.
  child.stdin.on("error", () => undefined);
  return {
    pid: child.pid ?? 0,
    latest() {
      if (child.exitCode === null && child.signalCode === null) return latest;
      throw new Error(`${file} ended with ${child.exitCode ?? child.signalCode}: ${complaint}`);
    },
    async stop() {
      child.stdin.end();
      const late = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS);
      if (child.exitCode === null && child.signalCode === null) await exited;
      clearTimeout(late);
    },
  };
}
