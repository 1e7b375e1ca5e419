import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";

const PROGRAM = path.resolve(import.meta.dirname, "../../cluster-agent/src/testing/soak-agent.ts");
const READY_LIMIT_MS = 60_000;

/** Where an agent dies: at the n-th write of its store, or so long after it is ready. */
export type Death =
  | { readonly kind: "write"; readonly atWrite: number; readonly when: "before" | "behind" }
  | { readonly kind: "time"; readonly afterMs: number };

/** One life of an agent: a process, from its start to its end. */
export class AgentLife {
  readonly #child: ChildProcess;
  readonly #errors: Buffer[] = [];
  readonly #ready: Promise<string | undefined>;
  #isOver = false;

  /** Starts an agent with the settings in `env`, which dies as told; without a death it lives until {@link end}. */
  constructor(
    env: Readonly<Record<string, string>>,
    shape: { nodes: number; gpusPerNode: number },
    death?: Death,
  ) {
    const kill = death?.kind === "write" ? { atWrite: death.atWrite, when: death.when } : undefined;
    const options = JSON.stringify({ env, ...shape, ...(kill === undefined ? {} : { kill }) });
    this.#child = spawn(process.execPath, [PROGRAM, options], { stdio: ["pipe", "pipe", "pipe"] });
    this.#child.stderr?.on("data", (chunk: Buffer) => this.#errors.push(chunk));
    const exited = once(this.#child, "exit").then(() => {
      this.#isOver = true;
      return undefined;
    });
    this.#ready = Promise.race([this.#firstLine(), exited]);
    if (death?.kind === "time") {
      void this.#ready.then(() => setTimeout(() => this.#child.kill("SIGKILL"), death.afterMs));
    }
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** URL of its API once its ledger is open; undefined when it died before. */
  async ready(): Promise<string | undefined> {
    const limit = AbortSignal.timeout(READY_LIMIT_MS);
    const url = await Promise.race([this.#ready, once(limit, "abort").then(() => "late")]);
    if (url === "late") {
      this.#child.kill("SIGKILL");
      throw new Error(`the agent was not ready in ${READY_LIMIT_MS} ms: ${this.errors()}`);
    }
    return url;
  }

  /** What it said on standard error. */
  errors(): string {
    return Buffer.concat(this.#errors).toString().slice(-2_000);
  }

  /** Kills it, if it lives. */
  async end(): Promise<void> {
    if (this.#isOver) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }

  async #firstLine(): Promise<string> {
    const { stdout } = this.#child;
    if (stdout === null) throw new Error("the agent has no standard output");
    for await (const line of createInterface({ input: stdout })) {
      return (JSON.parse(line) as { url: string }).url;
    }
    // Its end is told by its exit.
    return new Promise(() => undefined);
  }
}
