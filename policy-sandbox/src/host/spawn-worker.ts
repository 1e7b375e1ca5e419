import { type ChildProcess, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { WorkerConfig } from "../protocol/messages.ts";

/** A started worker process with its channel. */
export interface SpawnedWorker {
  readonly child: ChildProcess;
  /** Frames to the worker; ending it makes the worker leave. */
  readonly input: Writable;
  /** Frames from the worker, hostile. */
  readonly output: Readable;
  readonly stderr: Readable;
}

// V8 options of every worker. The stack makes deep recursion a RecursionError instead of a dead interpreter
// and fits the common 8 MiB; the heap cap bounds what lives outside the interpreter's own memory.
const ENGINE_FLAGS = [
  "--disallow-code-generation-from-strings",
  "--stack-size=3900",
  "--max-old-space-size=256",
  "--disable-sigusr1",
  "--no-warnings",
] as const;

const PACKAGE_ROOT = new URL("../../", import.meta.url);

/** The folder of the pyodide package, with a trailing slash. */
export function pyodideDir(): string {
  return fileURLToPath(new URL("./", import.meta.resolve("pyodide/pyodide.js")));
}

/** The script that carries the .xz decoder. */
export function xzScript(): string {
  return fileURLToPath(import.meta.resolve("xz-decompress"));
}

/** The flags of a worker's command line: no permission but reading its own program, and no signals to others. */
export function workerFlags(config: WorkerConfig): string[] {
  const readable = [
    fileURLToPath(new URL("src/worker/", PACKAGE_ROOT)),
    fileURLToPath(new URL("src/protocol/", PACKAGE_ROOT)),
    fileURLToPath(new URL("package.json", PACKAGE_ROOT)),
    config.pyodideDir,
    config.xzScript,
    ...(config.mode === "serve" ? [config.snapshotFile] : []),
  ];
  const disarm = new URL("src/worker/disarm.ts", PACKAGE_ROOT).href;
  return [
    "--permission",
    ...readable.map((path) => `--allow-fs-read=${path}`),
    `--import=${disarm}`,
    ...ENGINE_FLAGS,
  ];
}

/** Starts a worker. Never throws: a failure to start arrives as the child's `error` event. */
export function spawnWorker(config: WorkerConfig): SpawnedWorker {
  const program = fileURLToPath(new URL("src/worker/main.ts", PACKAGE_ROOT));
  const args = [...workerFlags(config), program, JSON.stringify(config)];
  const child = spawn(process.execPath, args, {
    env: {},
    cwd: "/",
    stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"],
  });
  const [, , stderr, input, output] = child.stdio;
  return {
    child,
    input: input as Writable,
    output: output as Readable,
    stderr: stderr as Readable,
  };
}
