import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LIMITS_BY_KIND, type Sandbox, type SandboxEvent } from "./index.ts";
import {
  expectKind,
  openSandbox,
  policyWithBody,
  processExists,
  requestFor,
  until,
} from "./testing/sandbox-fixture.ts";

const SHORT = { ...LIMITS_BY_KIND.precheck, wallMs: 600, cpuMs: 5_000 };
const events: SandboxEvent[] = [];
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = openSandbox({ onEvent: (event) => events.push(event) });
  await sandbox.ready();
});
afterAll(() => sandbox.close());

async function run(body: string, limits = SHORT) {
  return sandbox.evaluate(requestFor(policyWithBody(body), { limits }));
}

function workerPid(): number | undefined {
  // One that was given up may still be on its way out.
  const workers = sandbox.stats().workers.filter((worker) => worker.state === "idle");
  return workers.find((worker) => worker.tenant === "default_org/test")?.pid;
}

/** Runs a body and says whether the same worker still answers afterwards. */
async function survives(body: string, limits = SHORT) {
  expectKind(await run("return 1"), "returned");
  const before = workerPid();
  const outcome = await run(body, limits);
  expectKind(await run("return 1", LIMITS_BY_KIND.precheck), "returned");
  return { outcome, survived: workerPid() === before };
}

describe("time", () => {
  test.each([
    ["a loop", "while True: pass"],
    ["a catastrophic pattern", "import re\nre.match('(a+)+$', 'a' * 40 + 'b')"],
    ["a sleep", "import time\ntime.sleep(60)"],
    ["a sleep from a from-import", "from time import sleep\nsleep(60)"],
  ])("%s is interrupted at the wall deadline and the worker survives", async (_name, body) => {
    const { outcome, survived } = await survives(body);
    expect(outcome).toMatchObject({ kind: "timed_out", limit: "wall", limitMs: 600 });
    expect(expectKind(outcome, "timed_out").wallMs).toBeLessThan(1_500);
    expect(survived).toBe(true);
  });

  test("CPU time has a limit of its own, and sleeping does not count", async () => {
    const limits = { ...LIMITS_BY_KIND.precheck, wallMs: 5_000, cpuMs: 300 };
    const loop = await survives("while True: pass", limits);
    expect(loop).toMatchObject({
      survived: true,
      outcome: { kind: "timed_out", limit: "cpu", limitMs: 300 },
    });
    const sleep = expectKind(
      await run("import time\ntime.sleep(0.5)\nreturn 1", limits),
      "returned",
    );
    expect(sleep.cpuMs).toBeLessThan(300);
    expect(sleep.wallMs).toBeGreaterThan(490);
  });

  test("an operation that no interrupt reaches is killed when its CPU time is over", async () => {
    const limits = { ...LIMITS_BY_KIND.precheck, wallMs: 30_000, cpuMs: 300 };
    const { outcome, survived } = await survives("return sum(range(10**11))", limits);
    expect(outcome).toMatchObject({ kind: "timed_out", limit: "cpu", limitMs: 300 });
    expect(expectKind(outcome, "timed_out").cpuMs).toBeLessThan(2_500);
    expect(survived).toBe(false);
  });

  test("a loop while the module is loaded is interrupted too", async () => {
    const outcome = await sandbox.evaluate(requestFor("while True: pass", { limits: SHORT }));
    expect(outcome).toMatchObject({ kind: "timed_out", limit: "wall" });
  });

  test("a policy that swallows the interrupt is killed and costs one evaluation only", async () => {
    const body = "while True:\n    try:\n        while True: pass\n    except BaseException: pass";
    const { outcome, survived } = await survives(body);
    expect(outcome).toMatchObject({ kind: "timed_out", limit: "wall", limitMs: 600 });
    expect(expectKind(outcome, "timed_out").wallMs).toBeLessThan(4_000);
    expect(survived).toBe(false);
    expect(events).toContainEqual(expect.objectContaining({ kind: "worker_killed" }));
  });

  test("a policy that ignores the signal itself is killed", async () => {
    const body = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass";
    const { outcome } = await survives(body);
    expect(outcome).toMatchObject({ kind: "timed_out" });
    const next = await survives("while True: pass");
    expect(next).toMatchObject({ survived: true, outcome: { kind: "timed_out" } });
  });
});

describe("memory", () => {
  const ROOMY = { ...LIMITS_BY_KIND.precheck, wallMs: 15_000, cpuMs: 15_000 };

  test("too much memory is a MemoryError, after which another worker goes on", async () => {
    const { outcome, survived } = await survives(
      "x = []\nwhile True: x.append(bytearray(8 << 20))",
      ROOMY,
    );
    expect(expectKind(outcome, "raised").error.type).toBe("MemoryError");
    expect(survived).toBe(false);
  });

  test("the in-memory file system has a cap that counts what is really held", async () => {
    const body = [
      "import os",
      "def fill(path):",
      "    n = 0",
      "    with open(path, 'wb', buffering=0) as file:",
      "        try:",
      "            while n < 100: n += file.write(b'x' * (1 << 20)) >> 20",
      "        except OSError: pass",
      "    return n",
      "first = fill('/tmp/a')",
      "full = fill('/tmp/b')",
      "os.unlink('/tmp/a'); os.unlink('/tmp/b')",
      "again = fill('/tmp/c')",
      "os.unlink('/tmp/c')",
      "try: open('/tmp/d', 'wb').truncate(1 << 30)",
      "except OSError: sparse = 'refused'",
      "os.unlink('/tmp/d')",
      "return [first, full, again, sparse]",
    ].join("\n");
    const fresh = requestFor(policyWithBody(body), { limits: ROOMY, tenant: "default_org/files" });
    const outcome = expectKind(await sandbox.evaluate(fresh), "returned");
    const [first, full, again, sparse] = JSON.parse(outcome.resultJson);
    expect(first).toBeGreaterThanOrEqual(8);
    expect(first + full).toBeLessThanOrEqual(16);
    expect(again).toBe(first);
    expect(sparse).toBe("refused");
  });

  test("a worker whose resident memory passes the cap is killed", async () => {
    const limits = { ...ROOMY, rssMiB: 300, memoryMiB: 1_000 };
    const { outcome, survived } = await survives(
      "x = []\nwhile True: x.append(bytearray(b'x') * (8 << 20))",
      limits,
    );
    expect(outcome).toMatchObject({ kind: "crashed", cause: "memory" });
    expect(survived).toBe(false);
  });

  test.each([
    ["recursion", "def f(): return f()\nreturn f()"],
    ["a deep repr", "a = []\nfor n in range(20000): a = [a]\nreturn repr(a)"],
    ["deep JSON", "import json\nreturn len(json.loads('[' * 200000 + ']' * 200000))"],
  ])("%s is a RecursionError and the worker survives", async (_name, body) => {
    const { outcome, survived } = await survives(body, ROOMY);
    expect(expectKind(outcome, "raised").error.type).toBe("RecursionError");
    expect(survived).toBe(true);
  });

  test("recursion without a limit kills the interpreter at most, and the next evaluation works", async () => {
    const body = "import sys\nsys.setrecursionlimit(10**9)\ndef f(n): return f(n + 1)\nreturn f(0)";
    const { outcome } = await survives(body, ROOMY);
    // On a slow machine its time is over before its stack is.
    expect(["crashed", "raised", "timed_out"]).toContain(outcome.kind);
  });
});

describe("leaving", () => {
  test.each([
    ["sys.exit(3)", "import sys\nsys.exit(3)", "SystemExit"],
    ["raise KeyboardInterrupt", "raise KeyboardInterrupt", "KeyboardInterrupt"],
    ["os._exit(3)", "import os\nos._exit(3)", "AttributeError"],
    ["os.abort()", "import os\nos.abort()", "AttributeError"],
  ])("%s is an exception like any other", async (_name, body, type) => {
    const { outcome, survived } = await survives(body);
    expect(expectKind(outcome, "raised").error.type).toBe(type);
    expect(survived).toBe(true);
  });

  test("an exit by force ends the worker, not the next evaluation", async () => {
    const body = [
      "import sys",
      "sys.meta_path[:] = [f for f in sys.meta_path if 'Deny' not in repr(f)]",
      "import ctypes",
      "ctypes.CDLL(None).exit(3)",
    ].join("\n");
    const { outcome, survived } = await survives(body, LIMITS_BY_KIND.precheck);
    expect(outcome).toMatchObject({ kind: "crashed", cause: "trap" });
    expect(survived).toBe(false);
  });
});

describe("a parent that is killed", () => {
  test.each(["looping", "calling", "idle"])("leaves no %s worker behind", async (mode) => {
    const program = fileURLToPath(new URL("testing/lonely-parent.ts", import.meta.url));
    const parent = spawn(process.execPath, [program, mode], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = await once(parent.stdout, "data");
    const pids: number[] = JSON.parse(String(line));
    expect(pids.length).toBeGreaterThan(0);
    expect(pids.every(processExists)).toBe(true);
    parent.kill("SIGKILL");
    await until(() => !pids.some(processExists));
    expect(pids.filter(processExists)).toEqual([]);
  });
});
