import { afterEach, beforeEach, expect, test } from "vitest";
import { STATE_DIR } from "../testing/state-dir.ts";
import type { Job } from "./job.ts";
import { runnerSections } from "./request-parts.ts";
import { SnapshotStore } from "./snapshot.ts";
import { pyodideDir, xzScript } from "./spawn-worker.ts";
import { WorkerProcess } from "./worker-process.ts";

const LIMITS = { wallMs: 5_000, cpuMs: 5_000, graceMs: 1_000 };
let worker: WorkerProcess;

beforeEach(async () => {
  const snapshotFile = await new SnapshotStore(STATE_DIR, () => undefined).ensure();
  const places = { pyodideDir: pyodideDir(), xzScript: xzScript() };
  worker = new WorkerProcess({ mode: "serve", ...places, snapshotFile });
  await worker.ready;
});
afterEach(async () => {
  worker.kill("closed", "the test is over");
  await worker.exited;
});

/** Looks at code; `files` may be as large as is wanted. */
function jobOf(files: Readonly<Record<string, string>>): Job {
  const header = { operation: "check", limits: { logBytes: 0 } };
  return {
    message: { ...LIMITS, memoryBytes: 2 ** 28, fileBytes: 2 ** 20 },
    sections: runnerSections(header, { files: JSON.stringify(files) }),
    rssMiB: 512,
    hostCalls: 0,
    replyBytes: 2 ** 20,
    answer: async () => "",
  };
}

const SMALL = jobOf({ "code/function.py": "pass\n" });
// More than a socket takes at once.
const LARGE = jobOf({ "code/function.py": `# ${"x".repeat(4 * 1024 * 1024)}\n` });
const KILLED = { kind: "ended", cause: "exit", message: "the worker was ended by SIGKILL" };

test.each([
  ["waits in its channel", SMALL],
  ["is in the middle of its channel", LARGE],
])("a job that %s when the worker is killed has not begun", async (_name, job) => {
  process.kill(worker.pid, "SIGSTOP");
  const reply = worker.run(job);
  process.kill(worker.pid, "SIGKILL");
  expect(await reply).toMatchObject({ ...KILLED, begun: false });
});

test("a job that is given to a worker just killed has not begun, whatever is seen of it first", async () => {
  process.kill(worker.pid, "SIGKILL");
  expect(await worker.run(SMALL)).toMatchObject({ ...KILLED, begun: false });
  expect(worker.alive).toBe(false);
  expect(await worker.run(SMALL)).toMatchObject({ ...KILLED, begun: false });
});
