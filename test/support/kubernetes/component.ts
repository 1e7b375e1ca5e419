import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { spawnBound } from "@berth/service-kit/testing/bound-process";

const KEPT_OUTPUT = 64_000;

/** A program of the control plane that may be killed, stopped and started again. */
export class Component {
  readonly #file: string;
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;
  #output = "";

  constructor(file: string, args: readonly string[]) {
    this.#file = file;
    this.#args = args;
  }

  /** Process id; 0 when it does not run. */
  get pid(): number {
    return this.isRunning ? (this.#child?.pid ?? 0) : 0;
  }

  /** Whether the process is there, be it paused. */
  get isRunning(): boolean {
    return this.#child?.exitCode === null && this.#child.signalCode === null;
  }

  /** The newest lines that it printed, of all its lives. */
  get output(): string {
    return this.#output;
  }

  /** Starts it, unless it runs. */
  start(): void {
    if (this.isRunning) return;
    this.#child = spawnBound(this.#file, this.#args);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on("data", (chunk) => {
        this.#output = (this.#output + chunk).slice(-KEPT_OUTPUT);
      });
    }
    this.#child.on("error", (error) => {
      this.#output += `${this.#file}: ${error.message}\n`;
    });
  }

  /** kill -9; resolves when the process has gone. */
  async kill9(): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.isRunning) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }

  /** SIGSTOP: its connections stay open and nothing answers. */
  pause(): void {
    this.#child?.kill("SIGSTOP");
  }

  /** SIGCONT. */
  resume(): void {
    this.#child?.kill("SIGCONT");
  }
}
