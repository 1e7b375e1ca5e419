import { type ChildProcess, type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { LineSplitter } from "./line-splitter.ts";

/** How `nvidia-smi` is started. */
export interface SmiCommand {
  /** Executable name or path. */
  readonly command: string;
  /** Environment of the child; this process's own when absent. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** How the kill is sent; SIGKILL by default. A test may leave it out to play a process in D state. */
  readonly kill?: (child: ChildProcess) => void;
}

/** How a child came to its end. `abandoned`: it was killed and did not die. */
export type SmiEnd =
  | { readonly kind: "not_found" }
  | { readonly kind: "not_started"; readonly message: string }
  | { readonly kind: "exited"; readonly code: number | null; readonly signal: string | null }
  | { readonly kind: "abandoned" };

/** Options of {@link SmiProcess}. */
export interface SmiProcessOptions {
  readonly smi: SmiCommand;
  /** Arguments, never through a shell. */
  readonly args: readonly string[];
  /** Called per line of standard output and standard error; not after `kill`. */
  readonly onLine: (line: string) => void;
  /** How long a killed child may take to die before it is abandoned, in ms. */
  readonly abandonAfterMs: number;
}

const DRAIN_LIMIT_MS = 1_000;

/**
 * One `nvidia-smi` child. It writes into a pipe of ours and so dies at its next line when this process
 * is gone, however it went. Standard error is read too, so that the child never blocks on it.
 */
export class SmiProcess {
  readonly #options: SmiProcessOptions;
  readonly #ended = Promise.withResolvers<SmiEnd>();
  readonly #gone = Promise.withResolvers<void>();
  #child: ChildProcessByStdio<null, Readable, Readable> | undefined;
  #killed = false;

  /** Starts the child; a failed start shows in `ended`. */
  constructor(options: SmiProcessOptions) {
    this.#options = options;
    try {
      const { command, env } = options.smi;
      this.#child = spawn(command, [...options.args], {
        stdio: ["ignore", "pipe", "pipe"],
        ...(env === undefined ? {} : { env: { ...env } }),
      });
    } catch (thrown) {
      this.#finish({ kind: "not_started", message: messageOf(thrown) });
      return;
    }
    this.#watch(this.#child);
  }

  /** Process id; undefined when it was not started or has ended. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves once, with how the child ended. Never rejects. */
  get ended(): Promise<SmiEnd> {
    return this.#ended.promise;
  }

  /** Resolves when the child is really gone: for an abandoned one later than `ended`, or never. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  /** Kills the child; `ended` follows within `abandonAfterMs`. */
  kill(): void {
    const child = this.#child;
    if (this.#killed || child === undefined) return;
    this.#killed = true;
    const timer = setTimeout(() => this.#abandon(child), this.#options.abandonAfterMs);
    void this.ended.then(() => clearTimeout(timer));
    const send = this.#options.smi.kill ?? ((running: ChildProcess) => running.kill("SIGKILL"));
    send(child);
  }

  #watch(child: ChildProcessByStdio<null, Readable, Readable>): void {
    for (const stream of [child.stdout, child.stderr]) {
      const splitter = new LineSplitter();
      stream.setEncoding("utf8");
      stream.on("data", (chunk: string) => {
        for (const line of splitter.push(chunk)) {
          if (!this.#killed) this.#options.onLine(line);
        }
      });
      stream.on("error", () => stream.destroy());
    }
    child.on("error", (error: NodeJS.ErrnoException) => {
      if (child.pid !== undefined) return; // a kill that failed, not a start that failed
      const found = error.code !== "ENOENT";
      this.#finish(found ? { kind: "not_started", message: error.message } : { kind: "not_found" });
    });
    child.on("exit", (code, signal) => {
      const end = { kind: "exited", code, signal } as const;
      // "close" comes when the last line was read; something else may hold the pipe open forever.
      const timer = setTimeout(() => this.#finish(end), DRAIN_LIMIT_MS);
      child.once("close", () => {
        clearTimeout(timer);
        this.#finish(end);
      });
    });
  }

  #finish(end: SmiEnd): void {
    this.#child?.stdout.destroy();
    this.#child?.stderr.destroy();
    this.#child = undefined;
    this.#ended.resolve(end);
    this.#gone.resolve();
  }

  #abandon(child: ChildProcessByStdio<null, Readable, Readable>): void {
    child.stdout.destroy();
    child.stderr.destroy();
    child.unref();
    this.#ended.resolve({ kind: "abandoned" });
  }
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
