import { describe, expect, test } from "vitest";
import { LIMITS_BY_KIND, type Sandbox, type SandboxEvent } from "./index.ts";
import {
  expectKind,
  policyWithBody,
  requestFor,
  sandboxForTest,
  until,
} from "./testing/sandbox-fixture.ts";

const QUICK = policyWithBody("return 1");
const BY_SIGKILL = "the worker was ended by SIGKILL";

function signalAll(sandbox: Sandbox, signal: NodeJS.Signals): void {
  for (const { pid } of sandbox.stats().workers) process.kill(pid, signal);
}

/** The worker that this tenant has. */
function pidOf(sandbox: Sandbox, tenant = requestFor(QUICK).tenant): number {
  const worker = sandbox
    .stats()
    .workers.find((worker) => worker.tenant === tenant && worker.state !== "stopping");
  if (worker === undefined) throw new Error(`${tenant} has no worker`);
  return worker.pid;
}

/** A context that counts how often it is read, and does something then. */
function watchedContext(onRead: (reads: number) => void = () => undefined) {
  const context = {
    reads: 0,
    read: async () => {
      context.reads += 1;
      onRead(context.reads);
      return "{}";
    },
    write: () => undefined,
  };
  return context;
}

test("idle workers, bound and spare, that are all killed at once cost no evaluation", {
  timeout: 180_000,
}, async () => {
  const events: SandboxEvent[] = [];
  const sandbox = sandboxForTest({ maxWorkers: 4, onEvent: (event) => events.push(event) });
  const requests = ["a", "b", "c", "d"].map((name) => requestFor(QUICK, { tenant: `org/${name}` }));
  const evaluateAll = () => Promise.all(requests.map((request) => sandbox.evaluate(request)));
  await evaluateAll();
  for (let round = 0; round < 5; round += 1) {
    await sandbox.ready();
    const { workers } = sandbox.stats();
    const tenants = workers.filter(({ state }) => state === "idle").map(({ tenant }) => tenant);
    expect(new Set(tenants)).toEqual(new Set([null, ...requests.map(({ tenant }) => tenant)]));
    for (const { pid } of workers) process.kill(pid, "SIGKILL");
    for (const outcome of await evaluateAll()) expectKind(outcome, "returned");
  }
  const reasons = events.flatMap((event) => (event.kind === "worker_killed" ? event.reason : []));
  expect(new Set(reasons)).toEqual(new Set([BY_SIGKILL]));
});

test("an evaluation whose worker dies before it has taken it runs on another, on what is known then", async () => {
  const sandbox = sandboxForTest();
  const context = watchedContext();
  expectKind(await sandbox.evaluate(requestFor(QUICK)), "returned");
  const pid = pidOf(sandbox);
  process.kill(pid, "SIGSTOP");
  const evaluation = sandbox.evaluate(requestFor(QUICK, { context }));
  await until(() => context.reads === 1);
  process.kill(pid, "SIGKILL");
  expectKind(await evaluation, "returned");
  expect(context.reads).toBe(2);
});

test("an evaluation whose worker was stopped before it has taken it runs on another", async () => {
  const sandbox = sandboxForTest();
  const limits = LIMITS_BY_KIND.allocator;
  expectKind(await sandbox.evaluate(requestFor(QUICK, { limits })), "returned");
  process.kill(pidOf(sandbox), "SIGSTOP");
  const { wallMs } = expectKind(await sandbox.evaluate(requestFor(QUICK, { limits })), "returned");
  expect(wallMs).toBeLessThan(limits.wallMs);
});

test("it goes ahead of its tenant's others", async () => {
  const sandbox = sandboxForTest({ maxRunning: 1 });
  const context = watchedContext();
  const order: number[] = [];
  expectKind(await sandbox.evaluate(requestFor(QUICK)), "returned");
  const pid = pidOf(sandbox);
  process.kill(pid, "SIGSTOP");
  const all = [requestFor(QUICK, { context }), requestFor(QUICK)].map(async (request, index) => {
    expectKind(await sandbox.evaluate(request), "returned");
    order.push(index);
  });
  await until(() => context.reads === 1);
  process.kill(pid, "SIGKILL");
  await Promise.all(all);
  expect(order).toEqual([0, 1]);
});

test("its caller can cancel it while it waits for the other worker", async () => {
  const sandbox = sandboxForTest({ maxWorkers: 1, maxRunning: 2 });
  const abort = new AbortController();
  const context = watchedContext(() => process.kill(pidOf(sandbox), "SIGKILL"));
  await sandbox.ready();
  const canceled = sandbox.evaluate(requestFor(QUICK, { context, signal: abort.signal }));
  await until(() => sandbox.stats().queued === 1);
  abort.abort();
  expect(await canceled).toEqual({ kind: "canceled" });
  expect(sandbox.stats().queued).toBe(0);
});

test.each([
  [2, { kind: "returned" }],
  [3, { kind: "crashed", cause: "exit", message: `${BY_SIGKILL} before the policy began` }],
])("when %i workers in a row die before they have taken it: %j", async (deaths, outcome) => {
  const sandbox = sandboxForTest();
  await sandbox.ready();
  const context = watchedContext((reads) => {
    if (reads <= deaths) process.kill(pidOf(sandbox), "SIGKILL");
  });
  expect(await sandbox.evaluate(requestFor(QUICK, { context }))).toMatchObject(outcome);
  expect(context.reads).toBe(3);
});

test("a worker that is killed while it runs costs exactly its evaluation", async () => {
  const sandbox = sandboxForTest({ maxRunning: 2 });
  const context = watchedContext();
  const began: string[] = [];
  const evaluate = (tenant: string, sleepS: number) => {
    const callable = () => {
      began.push(tenant);
      return { kind: "value", json: "null" } as const;
    };
    const body = `import time\nself.settings['mark']()\ntime.sleep(${sleepS})\nreturn 1`;
    return sandbox.evaluate(
      requestFor(policyWithBody(body), {
        tenant,
        context,
        clients: { mark: { methods: {}, callable } },
        limits: LIMITS_BY_KIND.allocator,
      }),
    );
  };
  await sandbox.ready();
  const lost = evaluate("org/lost", 25);
  const waiting = evaluate("org/lost", 0);
  const other = evaluate("org/other", 1);
  await until(() => began.length === 2, 20_000);
  process.kill(pidOf(sandbox, "org/lost"), "SIGKILL");
  expect(await lost).toMatchObject({ kind: "crashed", cause: "exit", message: BY_SIGKILL });
  expectKind(await waiting, "returned");
  expectKind(await other, "returned");
  expect(began.sort()).toEqual(["org/lost", "org/lost", "org/other"]);
  expect(context.reads).toBe(3);
});

test("code is checked and archives are unpacked though their worker was killed while idle", async () => {
  const sandbox = sandboxForTest();
  await sandbox.ready();
  signalAll(sandbox, "SIGKILL");
  expect(await sandbox.check(requestFor(QUICK).code)).toMatchObject({ kind: "ok" });
  await sandbox.ready();
  signalAll(sandbox, "SIGKILL");
  expect(await sandbox.unpack(Buffer.from("no archive"))).toMatchObject({
    reason: "not_an_archive",
  });
});

describe("a worker that is killed while it starts", () => {
  /** Kills workers that start, each once, until there were so many. */
  async function killStarting(sandbox: Sandbox, count: number): Promise<Set<number>> {
    const killed = new Set<number>();
    const next = () =>
      sandbox.stats().workers.find(({ pid, state }) => state === "starting" && !killed.has(pid));
    while (killed.size < count) {
      await until(() => next() !== undefined, 30_000);
      const pid = next()?.pid;
      if (pid === undefined) continue;
      killed.add(pid);
      process.kill(pid, "SIGKILL");
    }
    return killed;
  }

  test("costs no evaluation that waits, and none its time", async () => {
    const events: SandboxEvent[] = [];
    const sandbox = sandboxForTest({ onEvent: (event) => events.push(event) });
    const all = ["a", "b", "c"].map((name) =>
      sandbox.evaluate(requestFor(QUICK, { tenant: `org/${name}` })),
    );
    const killed = await killStarting(sandbox, 2);
    for (const outcome of await Promise.all(all)) expectKind(outcome, "returned");
    const failed = events.filter(({ kind }) => kind === "worker_failed_to_start");
    expect(failed).toHaveLength(killed.size);
  });

  test("is waited for by who wants the sandbox ready", async () => {
    const sandbox = sandboxForTest();
    const ready = sandbox.ready();
    await killStarting(sandbox, 2);
    await ready;
    expectKind(await sandbox.evaluate(requestFor(QUICK)), "returned");
  });

  test("is told in the end, when that happens to one after the other", {
    timeout: 60_000,
  }, async () => {
    const sandbox = sandboxForTest();
    const ready = sandbox.ready().catch((error: unknown) => String(error));
    const evaluation = sandbox.evaluate(requestFor(QUICK));
    await killStarting(sandbox, 4);
    const message = `no policy worker can be started: ${BY_SIGKILL}`;
    expect(await evaluation).toMatchObject({ kind: "crashed", cause: "spawn", message });
    expect(await ready).toContain(message);
    await until(() => sandbox.stats().workers.some(({ state }) => state === "idle"), 30_000);
    expectKind(await sandbox.evaluate(requestFor(QUICK)), "returned");
  });
});
