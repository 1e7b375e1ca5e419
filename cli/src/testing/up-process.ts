import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { waitFor } from "./fake-programs.ts";

const RUN_UP = fileURLToPath(new URL("./run-up.ts", import.meta.url));

/** A `berth up` in a process of its own; the first three arguments are the files of its programs. */
export class Up {
  readonly child: ChildProcess;
  /** How it ended, once its output is read. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  stdout = "";
  stderr = "";

  constructor(args: readonly string[], env: Record<string, string> = {}) {
    this.child = spawn(process.execPath, [RUN_UP, ...args], {
      env: { PATH: process.env.PATH ?? "", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.child.stdout?.on("data", (data) => {
      this.stdout += String(data);
    });
    this.child.stderr?.on("data", (data) => {
      this.stderr += String(data);
    });
    this.ended = new Promise((resolve) => {
      this.child.on("close", (code, signal) => resolve({ code, signal }));
    });
  }

  /** Waits for the end of the summary. */
  async ready(): Promise<void> {
    await waitFor("the summary", () => this.stdout.includes("Ctrl-C stops the fleet."));
  }
}
