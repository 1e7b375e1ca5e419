import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import {
  BerthError,
  type DocumentStore,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Action, Actions, RunningOperation } from "./operation.ts";
import { openOperationBook } from "./operation-book.ts";
import { FinalError } from "./operation-course.ts";
import { OperationRunner } from "./operation-runner.ts";

let directory: string;
let store: DocumentStore;
let runners: OperationRunner[];

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-operations-"));
  store = openStore();
  runners = [];
});

afterEach(async () => {
  await Promise.all(runners.map((runner) => runner.stop()));
  await store.close();
  rmSync(directory, { recursive: true });
});

const openStore = () =>
  openSqliteDocumentStore(path.join(directory, "a.db"), systemClock, { durability: "process" });

const idle: Action = { run: async () => "done", undo: async () => {} };

async function begin(action: Partial<Action>, ready: () => Promise<void> = async () => {}) {
  const book = await openOperationBook({ store, orgId: "o", logger: silentLogger });
  const one = { ...idle, ...action };
  const actions: Actions = {
    create_block: one,
    remove_block: one,
    scale: one,
    remove_instance: one,
    parameter_update: one,
    "reassign-instances": one,
    "remove-node": one,
  };
  const retry = { firstMs: 1, capMs: 2, attempts: 4 };
  const parts = { book, actions, clock: systemClock, logger: silentLogger, ready, retry };
  const runner = new OperationRunner(parts);
  runners.push(runner);
  await runner.start();
  const accept = (more: object = {}) =>
    runner.accept({ action: "scale", blockId: "b", inputJson: "{}", plan: {}, ...more });
  const settled = (id: string) => runner.settled(id, AbortSignal.timeout(5_000));
  return { book, runner, accept, settled };
}

const unavailable = () => new BerthError("UNAVAILABLE", "the API server does not answer");
const refused = () => new BerthError("CONFLICT", "no room", { details: { reasons: ["full"] } });

/** An action whose calls fail in turn with what is listed, and then succeed. */
function failing(runs: Error[], undos: Error[] = []) {
  const calls: string[] = [];
  const step = (name: string, failures: Error[]) => async () => {
    calls.push(name);
    const failure = failures.shift();
    if (failure !== undefined) throw failure;
    return name;
  };
  return { calls, run: step("run", runs), undo: async () => void (await step("undo", undos)()) };
}

describe("OperationRunner", () => {
  it("does an operation and remembers it over a restart", async () => {
    const { accept, settled } = await begin({
      run: async ({ at }) => {
        at("starting instances", 1, 2);
        return { "in-1": true };
      },
    });
    const { id } = await accept({ idempotencyKey: "k" });
    expect(await settled(id)).toMatchObject({ state: "done", result: { "in-1": true } });
    const again = await begin({});
    expect(again.book.get(id)).toMatchObject({
      ...{ state: "done", step: "done", progress: { done: 2, total: 2 }, attempts: 1 },
    });
    expect((await again.accept({ idempotencyKey: "k" })).id).toBe(id);
  });

  it("gives the operation of a key that comes again, and refuses the key for anything else", async () => {
    const { accept } = await begin({});
    const [one, two] = await Promise.all([
      accept({ idempotencyKey: "k" }),
      accept({ idempotencyKey: "k" }),
    ]);
    expect(two.id).toBe(one.id);
    await expect(accept({ idempotencyKey: "k", inputJson: '{"n":1}' })).rejects.toMatchObject({
      reason: "ALREADY_EXISTS",
      message: expect.stringContaining("idempotency_key"),
    });
  });

  it("knows a request again whatever the order of its keys", async () => {
    const { accept } = await begin({});
    const one = await accept({ idempotencyKey: "k", inputJson: '{"a":1,"b":[{"c":2,"d":3}]}' });
    const two = await accept({ idempotencyKey: "k", inputJson: '{"b":[{"d":3,"c":2}],"a":1}' });
    expect(two.id).toBe(one.id);
    const other = accept({ idempotencyKey: "k", inputJson: '{"b":[{"d":3,"c":2}],"a":1.0}' });
    await expect(other).rejects.toMatchObject({ reason: "ALREADY_EXISTS" });
  });

  it("refuses a key for the same input with other leases", async () => {
    const { accept } = await begin({});
    const planned = (leaseId: string, subject?: string) => ({
      idempotencyKey: "k",
      plan: { instances: [{ instanceId: "in-1", lease: { leaseId, storeId: "", subject } }, {}] },
    });
    const one = await accept(planned("l1", "s"));
    expect((await accept(planned("l1", "s"))).id).toBe(one.id);
    for (const other of [planned("l2", "s"), planned("l1"), { idempotencyKey: "k" }]) {
      await expect(accept(other)).rejects.toMatchObject({ reason: "ALREADY_EXISTS" });
    }
  });

  it("does not begin what another operation has asked for that does not go on", async () => {
    const [parentGoesOn, blockIsFree] = [
      Promise.withResolvers<void>(),
      Promise.withResolvers<void>(),
    ];
    const seen: string[] = [];
    const { accept, settled } = await begin({
      run: async ({ inputJson }) => {
        seen.push(inputJson);
        if (inputJson === "1") await blockIsFree.promise;
        if (inputJson === "2") await parentGoesOn.promise;
        if (inputJson === "2") throw refused();
      },
    });
    const first = await accept({ inputJson: "1" });
    const parent = await accept({ blockId: "c", inputJson: "2" });
    const child = await accept({ inputJson: "3", parentId: parent.id });
    parentGoesOn.resolve();
    expect(await settled(parent.id)).toMatchObject({ state: "failed" });
    blockIsFree.resolve();
    await settled(first.id);
    expect(await settled(child.id)).toMatchObject({
      state: "failed",
      error: { reason: "CONFLICT", message: expect.stringContaining(`operation ${parent.id}`) },
    });
    expect(seen.toSorted()).toEqual(["1", "2"]);
  });

  it("lets an operation call back another one that runs or waits", async () => {
    const called = Promise.withResolvers<readonly string[]>();
    const { accept, settled } = await begin({
      run: async ({ inputJson, cancel, whyUnwanted }) => {
        if (inputJson === "2") for (const id of await called.promise) cancel(id, "no longer");
        while (inputJson === "1" && whyUnwanted() === undefined) await setImmediate();
      },
    });
    const ids = [(await accept({ inputJson: "1" })).id, (await accept({ inputJson: "3" })).id];
    const caller = await accept({ blockId: "c", inputJson: "2" });
    called.resolve(ids);
    expect(await settled(caller.id)).toMatchObject({ state: "done" });
    expect(await settled(ids[0] ?? "")).toMatchObject({ state: "done" });
    expect(await settled(ids[1] ?? "")).toMatchObject({
      ...{ state: "failed", error: { reason: "CONFLICT", message: "no longer" } },
    });
  });

  it("does the operations of one block one after the other, and others meanwhile", async () => {
    const running = new Set<string>();
    const seen: string[] = [];
    const gates = new Map<string, PromiseWithResolvers<void>>();
    const gate = (name: string) => gates.getOrInsertComputed(name, () => Promise.withResolvers());
    const run = async ({ blockId, inputJson }: RunningOperation) => {
      expect(running.has(blockId)).toBe(false);
      running.add(blockId);
      seen.push(`${blockId}${inputJson}`);
      await gate(`${blockId}${inputJson}`).promise;
      running.delete(blockId);
    };
    const { accept, settled } = await begin({ run });
    const [first, second, other] = await Promise.all([
      accept({ inputJson: "1" }),
      accept({ inputJson: "2" }),
      accept({ blockId: "c", inputJson: "3" }),
    ]);
    gate("c3").resolve();
    await settled(other.id);
    expect(seen.toSorted()).toEqual(["b1", "c3"]);
    gate("b1").resolve();
    gate("b2").resolve();
    expect([await settled(first.id), await settled(second.id)]).toMatchObject([
      { state: "done" },
      { state: "done" },
    ]);
  });

  it("tries what may pass again, and gives it up after the last attempt", async () => {
    const passing = failing([unavailable(), unavailable(), unavailable()]);
    const first = await begin(passing);
    const { id } = await first.accept();
    expect(await first.settled(id)).toMatchObject({ state: "done", attempts: 4 });
    expect((await first.settled(id)).error).toBeUndefined();
    const lasting = failing(Array.from({ length: 9 }, unavailable));
    const second = await begin(lasting);
    const one = await second.accept({ blockId: "c" });
    expect(await second.settled(one.id)).toMatchObject({
      state: "failed",
      error: { reason: "UNAVAILABLE", message: "the API server does not answer" },
    });
    expect(lasting.calls).toEqual(["run", "run", "run", "run", "undo"]);
  });

  it("undoes at once what has waited long enough itself", async () => {
    const late = new FinalError("DEADLINE_EXCEEDED", "not ready");
    const action = failing([late]);
    const { accept, settled } = await begin(action);
    const { id } = await accept();
    expect(await settled(id)).toMatchObject({
      state: "failed",
      error: { reason: "DEADLINE_EXCEEDED", message: "not ready" },
    });
    expect(action.calls).toEqual(["run", "undo"]);
  });

  it("undoes what is refused, and tells the client why", async () => {
    const action = failing([refused()], [unavailable()]);
    const { accept, settled } = await begin(action);
    const { id } = await accept();
    expect(await settled(id)).toMatchObject({
      state: "failed",
      error: { reason: "CONFLICT", message: "no room", details: { reasons: ["full"] } },
    });
    expect(action.calls).toEqual(["run", "undo", "undo"]);
  });

  it("is stuck where it can neither go on nor back, keeps its block, and is retried or abandoned", async () => {
    const action = failing([refused()], [refused(), refused()]);
    const { runner, accept, settled } = await begin(action);
    const { id } = await accept();
    expect(await settled(id)).toMatchObject({ state: "stuck", error: { message: "no room" } });
    await expect(accept()).rejects.toMatchObject({
      reason: "CONFLICT",
      message: expect.stringContaining(`operation ${id} (scale) of block "b" is stuck`),
    });
    await runner.retry(id);
    expect(await settled(id)).toMatchObject({ state: "stuck" });
    await runner.retry(id);
    expect(await settled(id)).toMatchObject({ state: "failed" });
    await expect(runner.abandon(id)).rejects.toMatchObject({ reason: "PRECONDITION_FAILED" });
    await expect(runner.retry("none")).rejects.toMatchObject({ reason: "NOT_FOUND" });
    const next = await accept();
    expect(await settled(next.id)).toMatchObject({ state: "done" });
  });

  it("refuses what waited behind an operation that is stuck now", async () => {
    const begun = Promise.withResolvers<void>();
    const { runner, accept, settled } = await begin({
      run: async () => {
        await begun.promise;
        throw refused();
      },
      undo: async () => {
        throw refused();
      },
    });
    const [first, second] = await Promise.all([accept(), accept()]);
    begun.resolve();
    expect(await settled(second.id)).toMatchObject({
      state: "failed",
      attempts: 0,
      error: { reason: "CONFLICT", details: { operation_id: first.id } },
    });
    expect(await runner.abandon(first.id)).toMatchObject({ state: "abandoned" });
  });

  it("shows how far one has come while it runs", async () => {
    const { book, accept } = await begin({
      run: async ({ at, signal }) => {
        at("starting instances", 1, 3);
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    });
    const { id } = await accept();
    await expect.poll(() => book.get(id)?.progress).toEqual({ done: 1, total: 3 });
    expect(book.get(id)).toMatchObject({ state: "running", step: "starting instances" });
  });

  it("goes on at the next start with what was cut off, and says that it was begun before", async () => {
    const hangs = await begin({
      run: async ({ signal }) => {
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        signal.throwIfAborted();
      },
    });
    const { id } = await hangs.accept({ plan: { instances: ["in-1"] } });
    await expect.poll(() => hangs.book.get(id)?.attempts).toBe(1);
    await hangs.runner.stop();
    const seen: unknown[] = [];
    const next = await begin({
      run: async ({ plan, isResumed }) => {
        seen.push({ plan, isResumed });
      },
    });
    expect(await next.settled(id)).toMatchObject({ state: "done", attempts: 2 });
    expect(seen).toEqual([{ plan: { instances: ["in-1"] }, isResumed: true }]);
  });

  it("begins nothing before it is known what runs", async () => {
    const known = Promise.withResolvers<void>();
    const action = failing([]);
    const { accept, settled } = await begin(action, () => known.promise);
    const { id } = await accept();
    expect(action.calls).toEqual([]);
    known.resolve();
    expect(await settled(id)).toMatchObject({ state: "done" });
  });

  it("takes 32 operations of one block and no more at a time", async () => {
    const open = Promise.withResolvers<void>();
    const { accept } = await begin({ run: () => open.promise });
    await Promise.all(Array.from({ length: 32 }, () => accept()));
    await expect(accept()).rejects.toMatchObject({ reason: "OVERLOADED" });
    await accept({ blockId: "c" });
    open.resolve();
  });
});
