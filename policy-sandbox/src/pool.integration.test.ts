import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { getPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { LIMITS_BY_KIND, type SandboxEvent } from "./index.ts";
import {
  expectKind,
  policyWithBody,
  processExists,
  requestFor,
  sandboxForTest,
  until,
} from "./testing/sandbox-fixture.ts";
import { STATE_DIR } from "./testing/state-dir.ts";

const SLEEP = requestFor(policyWithBody("import time\ntime.sleep(1)\nreturn 1"));
const QUICK = policyWithBody("return 1");

test("tenants never share an interpreter, not even after a rebind", async () => {
  const sandbox = sandboxForTest({ maxWorkers: 1 });
  const source = policyWithBody(
    "import sys\nold = getattr(sys, 'mark', None)\nsys.mark = input_data\nreturn old",
  );
  const seen: string[] = [];
  for (const [tenant, inputJson] of [
    ["org/a", '"from a"'],
    ["org/a", '"again"'],
    ["org/b", '"from b"'],
    ["org/a", '"late"'],
  ] as const) {
    const outcome = await sandbox.evaluate(requestFor(source, { tenant, inputJson }));
    seen.push(expectKind(outcome, "returned").resultJson);
    const bound = sandbox
      .stats()
      .workers.filter((worker) => worker.tenant !== null && worker.state !== "stopping");
    expect(bound.map((worker) => worker.tenant)).toEqual([tenant]);
  }
  expect(seen).toEqual(["null", '"from a"', "null", "null"]);
});

test("a policy that is busy does not hold up another, and never takes every place", async () => {
  const sandbox = sandboxForTest({ maxRunning: 2 });
  await sandbox.ready();
  const body = policyWithBody("import time\ntime.sleep(3)\nreturn 1");
  let finished = 0;
  const slow = [1, 2, 3].map(async () => {
    const outcome = await sandbox.evaluate(requestFor(body));
    finished += 1;
    return outcome.kind;
  });
  await until(() => sandbox.stats().running === 1);
  const quick = sandbox.evaluate(requestFor(QUICK, { tenant: "org/quick" }));
  expect(sandbox.stats().workers.filter((worker) => worker.state === "running")).toHaveLength(1);
  expectKind(await quick, "returned");
  expect(finished).toBeLessThan(3);
  expect(await Promise.all(slow)).toEqual(["returned", "returned", "returned"]);
});

test.each([
  ["sleep", "import time\ntime.sleep(input_data)\nreturn 1"],
  ["burn CPU", "import time\nend = time.time() + input_data\nwhile time.time() < end: pass"],
])("policies that %s do not hold up others, as many as cores and more", async (_what, body) => {
  const sandbox = sandboxForTest({ maxRunning: 2, maxWorkers: 8 });
  await sandbox.ready();
  const source = policyWithBody(body);
  const limits = LIMITS_BY_KIND.allocator;
  const tenants = ["org/a", "org/b", "org/c", "org/d"];
  const run = (tenant: string, inputJson: string) =>
    sandbox.evaluate(requestFor(source, { tenant, inputJson, limits }));
  await Promise.all(tenants.map((tenant) => run(tenant, "0.5")));
  const aborts = new AbortController();
  const slow = tenants.map((tenant) =>
    sandbox.evaluate(
      requestFor(source, { tenant, inputJson: "15", limits, signal: aborts.signal }),
    ),
  );
  await until(() => sandbox.stats().running === 4);
  for (const tenant of ["org/quick", "org/quicker", "org/quick"]) {
    expectKind(await sandbox.evaluate(requestFor(QUICK, { tenant })), "returned");
  }
  const running = sandbox.stats().workers.filter(({ state }) => state === "running");
  expect(running.map(({ tenant }) => tenant).sort()).toEqual(tenants);
  expect(sandbox.stats().slow).toBe(4);
  await until(() => running.every(({ pid }) => getPriority(pid) === 10));
  aborts.abort();
  expect((await Promise.all(slow)).map(({ kind }) => kind)).toEqual(Array(4).fill("canceled"));
});

test("a policy whose code takes long to load does not wait among the slow ones", async () => {
  const sandbox = sandboxForTest({ maxRunning: 2, maxWorkers: 4 });
  const limits = LIMITS_BY_KIND.allocator;
  const sleep = policyWithBody("import time\ntime.sleep(input_data)\nreturn 1");
  const aborts = new AbortController();
  const run = (tenant: string, inputJson: string) =>
    sandbox.evaluate(requestFor(sleep, { tenant, inputJson, limits, signal: aborts.signal }));
  const tenants = ["org/a", "org/b"];
  for (const tenant of tenants)
    for (const s of ["0", "0.5"]) expectKind(await run(tenant, s), "returned");
  const loading = `import time\ntime.sleep(0.5)\n${QUICK}`;
  const quick = () => sandbox.evaluate(requestFor(loading, { tenant: "org/quick", limits }));
  expectKind(await quick(), "returned");
  const slow = tenants.map((tenant) => run(tenant, "15"));
  await until(() => sandbox.stats().slow === 2);
  expect(expectKind(await quick(), "returned").queuedMs).toBeLessThan(5_000);
  aborts.abort();
  await Promise.all(slow);
});

test("what does not fit into the queue is overloaded at once", async () => {
  const sandbox = sandboxForTest({ maxQueued: 2 });
  await sandbox.ready();
  const first = sandbox.evaluate(SLEEP);
  const waiting = [sandbox.evaluate(SLEEP), sandbox.evaluate(SLEEP)];
  expect((await sandbox.evaluate(SLEEP)).kind).toBe("overloaded");
  const outcomes = await Promise.all([first, ...waiting]);
  expect(outcomes.map((outcome) => outcome.kind)).toEqual(["returned", "returned", "returned"]);
});

test("one tenant's backlog refuses nobody else: its own newest makes room", async () => {
  const sandbox = sandboxForTest({ maxQueued: 3, maxRunning: 2 });
  await sandbox.ready();
  const first = sandbox.evaluate(SLEEP);
  await until(() => sandbox.stats().running === 1);
  const backlog = [1, 2, 3].map(() => sandbox.evaluate(SLEEP));
  const small = sandbox.evaluate(requestFor(QUICK, { tenant: "org/small" }));
  const smaller = sandbox.evaluate(requestFor(QUICK, { tenant: "org/smaller" }));
  expectKind(await small, "returned");
  expectKind(await smaller, "returned");
  const kinds = (await Promise.all([first, ...backlog])).map(({ kind }) => kind);
  expect(kinds.slice(0, 2)).toEqual(["returned", "returned"]);
  expect(kinds.at(-1)).toBe("overloaded");
});

test("a signal cancels a queued evaluation and kills a running one", async () => {
  const sandbox = sandboxForTest();
  await sandbox.ready();
  const running = new AbortController();
  const queued = new AbortController();
  const limits = LIMITS_BY_KIND.allocator;
  const body = policyWithBody("import time\ntime.sleep(20)\nreturn 1");
  const first = sandbox.evaluate(requestFor(body, { limits, signal: running.signal }));
  await until(() => sandbox.stats().running === 1);
  const second = sandbox.evaluate(requestFor(body, { limits, signal: queued.signal }));
  queued.abort();
  expect(await second).toEqual({ kind: "canceled" });
  running.abort();
  expect(await first).toEqual({ kind: "canceled" });
  expect(await sandbox.evaluate(requestFor(QUICK, { signal: AbortSignal.abort() }))).toEqual({
    kind: "canceled",
  });
  expectKind(await sandbox.evaluate(requestFor(QUICK)), "returned");
});

test("closing kills every worker and cancels what runs and waits", async () => {
  const sandbox = sandboxForTest();
  await sandbox.ready();
  const evaluations = [sandbox.evaluate(SLEEP), sandbox.evaluate(SLEEP)];
  await until(() => sandbox.stats().running === 1);
  const pids = sandbox.stats().workers.map((worker) => worker.pid);
  await sandbox.close();
  expect(await Promise.all(evaluations)).toEqual([{ kind: "canceled" }, { kind: "canceled" }]);
  expect(pids.filter(processExists)).toEqual([]);
  expect(await sandbox.evaluate(SLEEP)).toEqual({ kind: "canceled" });
  await expect(sandbox.ready()).rejects.toThrow("closed");
});

test("a signal to the process group does not cut an evaluation", async () => {
  const sandbox = sandboxForTest();
  await sandbox.ready();
  const evaluation = sandbox.evaluate(SLEEP);
  await until(() => sandbox.stats().running === 1);
  for (const { pid } of sandbox.stats().workers) process.kill(pid, "SIGINT");
  expectKind(await evaluation, "returned");
});

test("a damaged image is built again", async () => {
  await sandboxForTest().ready();
  const stateDir = await mkdtemp(join(tmpdir(), "berth-damaged-"));
  try {
    const [name] = (await readdir(STATE_DIR)).filter((file) => file.endsWith(".bin"));
    const bytes = await readFile(join(STATE_DIR, String(name)));
    bytes.fill(0, bytes.length / 2, bytes.length / 2 + 1_000);
    await writeFile(join(stateDir, String(name)), bytes);
    const events: SandboxEvent[] = [];
    const sandbox = sandboxForTest({ stateDir, onEvent: (event) => events.push(event) });
    expectKind(await sandbox.evaluate(requestFor(QUICK)), "returned");
    expect(events[0]).toMatchObject({ kind: "snapshot_built" });
    expect(sandbox.stats().snapshot).toBe("ready");
    expect(await readdir(stateDir)).toEqual([name]);
    await sandbox.close();
  } finally {
    await rm(stateDir, { recursive: true, force: true });
  }
});

test.each([
  ["below a file", join(fileURLToPath(import.meta.url), "below-a-file"), /below-a-file.*ENOTDIR/],
  ["below /proc", "/proc/berth/state", /\/proc\/berth .*ENOENT/],
])("a folder %s is an outcome, not a hang", async (_name, stateDir, message) => {
  const events: SandboxEvent[] = [];
  const sandbox = sandboxForTest({ stateDir, onEvent: (event) => events.push(event) });
  const outcome = await sandbox.evaluate(requestFor(QUICK));
  expect(outcome).toMatchObject({ kind: "crashed", cause: "spawn" });
  expect(expectKind(outcome, "crashed").message).toMatch(message);
  expect(events.map((event) => event.kind)).toContain("snapshot_failed");
  expect(sandbox.stats().snapshot).toBe("failed");
});
