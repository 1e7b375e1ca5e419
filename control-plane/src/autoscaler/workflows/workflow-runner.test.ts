import { BerthError, parseLossless } from "@berth/service-kit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ModuleCall, ModuleOutcome } from "./module-attempts.ts";
import { readWorkflow } from "./workflow.ts";
import { WorkflowRunner, type WorkflowRunOptions } from "./workflow-runner.ts";

type Answer = (call: ModuleCall) => unknown;

const clock = { nowMs: () => 0 };
const never = new AbortController().signal;
const code = "pass";

/** A runner whose modules answer by name; `{failed}` is a failure, a text in `json` is the result as such. */
function runnerOf(answers: Record<string, Answer>, deadline = () => never) {
  const calls: ModuleCall[] = [];
  const pauses: number[] = [];
  const runModule = async (call: ModuleCall): Promise<ModuleOutcome> => {
    calls.push(call);
    const answer: unknown = await (answers[call.module] ?? (() => call.module))(call);
    if (answer instanceof Failure) return answer.outcome;
    return { kind: "returned", resultJson: JSON.stringify(answer) };
  };
  const pause = async (ms: number): Promise<void> => {
    pauses.push(ms);
  };
  const runner = new WorkflowRunner({ runModule, clock, deadline, pause });
  const run = (body: object, options: Partial<WorkflowRunOptions> = {}, input: object = {}) =>
    runner.run(readWorkflow(body), JSON.stringify(input), { signal: never, ...options });
  const names = () => calls.map(({ module }) => module);
  const inputOf = (module: string): unknown =>
    JSON.parse(calls.find((call) => call.module === module)?.inputJson ?? "null");
  return { run, calls, names, inputOf, pauses };
}

class Failure {
  readonly outcome: ModuleOutcome;
  constructor(canPass: boolean) {
    const error = new BerthError("POLICY_FAILED", "it broke");
    this.outcome = { kind: "failed", error, canPass };
  }
}

/** A body with these modules, by name, and this graph. */
function body(graph: Record<string, string[]>, fields: Record<string, object> = {}, more = {}) {
  const names = new Set([...Object.keys(graph), ...Object.values(graph).flat()]);
  for (const name of Object.keys(fields)) names.add(name);
  const modules = Object.fromEntries([...names].map((name) => [name, { code, ...fields[name] }]));
  return { modules, graph, ...more };
}

const DIAMOND = { a: ["b", "c"], b: ["d"], c: ["d"] };

describe("a run", () => {
  it("gives each module the input and the outputs of those before it, and the end's output", async () => {
    const { run, inputOf } = runnerOf({ d: () => ({ s: 3 }) });
    const done = await run(body(DIAMOND), {}, { metrics: { gpus: 8 } });
    expect(done).toMatchObject({
      ...{ kind: "done", output: { s: 3 }, outputs: { a: "a", b: "b", c: "c", d: { s: 3 } } },
    });
    const metrics = { gpus: 8 };
    expect(inputOf("a")).toEqual({ metrics, previous_outputs: {} });
    // The reference would give b the output of c as well, or not, as it happens.
    expect(inputOf("b")).toEqual({ metrics, previous_outputs: { a: "a" } });
    expect(inputOf("d")).toEqual({ metrics, previous_outputs: { a: "a", b: "b", c: "c" } });
    const none = { ms: 0, attempts: 1, skipped: undefined, fellBack: false };
    expect(done.facts).toEqual(["a", "b", "c", "d"].map((module) => ({ module, ...none })));
  });

  it("keeps numbers as they were written, on the way in and out", async () => {
    const { run, calls } = runnerOf({ a: () => parseLossless("10.0") });
    const input = parseLossless('{"n":9007199254740993}') as object;
    const done = await run(body({ a: ["b"], b: [] }), {}, input);
    expect(calls[1]?.inputJson).toBe('{"n":9007199254740993,"previous_outputs":{"a":10.0}}');
    expect(JSON.stringify(done)).toContain('"a":10.0');
  });

  it("gives parameters and settings in the order of who wins", async () => {
    const { run, calls } = runnerOf({});
    const own = { parameters: { p: 1, g: 1, c: 1 }, settings: { s: 1, gs: 1 } };
    const globals = { globalParameters: { g: 0, x: 0, c: 0 }, globalSettings: { gs: 0, y: 0 } };
    await run(body({ a: [] }, { a: own }, globals), { globalParameters: { c: 9 } });
    expect(calls[0]).toMatchObject({ code: { kind: "inline", python: code }, timeoutMs: 30_000 });
    expect(calls[0]?.parameters).toEqual({
      ...{ p: 1, g: 1, x: 0, c: 9, globalParameters: { g: 0, x: 0, c: 9 } },
    });
    expect(calls[0]?.settings).toEqual({ s: 1, gs: 1, y: 0, globalSettings: { gs: 0, y: 0 } });
  });
});

describe("a checker", () => {
  const checked = { ...body({ d: [] }, { c: {}, d: {} }), checker: { graph: { c: [] } } };

  it.each([
    [null, "returned null"],
    [false, "returned false"],
    [0, "returned 0"],
    [{}, "returned {}"],
    [{ scale: false }, "returned scale: false"],
    [{ skip: true, scale: true }, "returned skip: true"],
    [{ skip: true, reason: "night" }, "night"],
  ])("that returns %j ends the run", async (result, reason) => {
    const { run, names } = runnerOf({ c: () => result });
    const skipped = await run(checked);
    expect(skipped).toMatchObject({ kind: "skipped", reason: expect.stringContaining(reason) });
    expect(names()).toEqual(["c"]);
  });

  it.each([[true], [{ scale: true }], [{ skip: false }], ["yes"], [{ scale: 0 }]])(
    "that returns %j lets the decision see its output",
    async (result) => {
      const { run, inputOf } = runnerOf({ c: () => result });
      expect(await run(checked)).toMatchObject({ kind: "done", output: "d" });
      expect(inputOf("d")).toEqual({ previous_outputs: { c: result } });
    },
  );

  it("that fails, fails the run; one that is skipped ends it", async () => {
    const { run, names } = runnerOf({ c: () => new Failure(false) });
    expect(await run(checked)).toMatchObject({ kind: "failed", module: "c" });
    expect(names()).toEqual(["c"]);
    const when = { output: "b", op: "exists", path: "x" };
    const modules = { b: { code }, c: { code, when }, d: { code } };
    const unmet = { modules, checker: { graph: { b: ["c"] } }, graph: { d: [] } };
    const skipped = await runnerOf({}).run(unmet);
    expect(skipped).toMatchObject({ kind: "skipped", reason: "the checker's c was skipped" });
  });
});

describe("a condition", () => {
  const when = [
    { output: "a", path: "go" },
    { output: "a", path: "n", op: "gt", value: 2 },
  ];

  it("runs the module when all of it holds", async () => {
    const { run, names } = runnerOf({ a: () => ({ go: true, n: 3 }) });
    expect(await run(body(DIAMOND, { b: { when } }))).toMatchObject({ kind: "done", output: "d" });
    expect(names()).toEqual(["a", "b", "c", "d"]);
  });

  it("skips the module otherwise, and those that stand behind skipped ones alone", async () => {
    const { run, names, inputOf } = runnerOf({ a: () => ({ go: true, n: 2 }) });
    const done = await run(body({ a: ["b", "c"], b: ["e"], e: ["d"], c: ["d"] }, { b: { when } }));
    expect(done).toMatchObject({ kind: "done", output: "d" });
    expect(names()).toEqual(["a", "c", "d"]);
    expect(inputOf("d")).toMatchObject({ previous_outputs: { a: { go: true, n: 2 }, c: "c" } });
    const skipped = new Map(done.facts.map((fact) => [fact.module, fact.skipped]));
    expect(skipped.get("b")).toBe("its condition on a.n (gt) does not hold");
    expect(skipped.get("e")).toBe("every module before it was skipped");
    expect(skipped.get("d")).toBeUndefined();
  });

  it("that skips the end leaves no output", async () => {
    const done = await runnerOf({}).run(body({ a: ["b"], b: [] }, { b: { when } }));
    expect(done).toMatchObject({ kind: "done", output: null, outputs: { a: "a" } });
  });
});

describe("a failure", () => {
  const failing = (times: number, canPass = true) => {
    let left = times;
    return () => {
      left -= 1;
      return left >= 0 ? new Failure(canPass) : "fine";
    };
  };

  it("that can pass is tried again, with pauses", async () => {
    const { run, pauses } = runnerOf({ a: failing(3) });
    const done = await run(body({ a: [] }, { a: { retries: 3 } }));
    expect(done).toMatchObject({ kind: "done", output: "fine", facts: [{ attempts: 4 }] });
    expect(pauses).toEqual([200, 400, 800]);
  });

  it("fails the workflow when attempts are used up, or none can help", async () => {
    const used = await runnerOf({ a: failing(3) }).run(body({ a: [] }, { a: { retries: 2 } }));
    expect(used).toMatchObject({
      ...{ kind: "failed", module: "a", error: { message: "it broke" }, facts: [{ attempts: 3 }] },
    });
    const bad = await runnerOf({ a: failing(1, false) }).run(
      body({ a: [] }, { a: { retries: 2 } }),
    );
    expect(bad).toMatchObject({ kind: "failed", facts: [{ attempts: 1 }] });
    const thrown = await runnerOf({
      a: () => {
        throw new TypeError("a bug");
      },
    }).run(body({ a: [] }));
    expect(thrown).toMatchObject({ kind: "failed", error: { reason: "INTERNAL" } });
  });

  it("has its fallback, null among them, count as the output", async () => {
    const { run, inputOf } = runnerOf({ a: failing(1, false), b: failing(1, false) });
    const fields = { a: { fallback: { n: 1 } }, b: { fallback: null } };
    const done = await run(body({ a: ["b"], b: [] }, fields));
    expect(done).toMatchObject({ kind: "done", output: null, outputs: { a: { n: 1 }, b: null } });
    expect(inputOf("b")).toEqual({ previous_outputs: { a: { n: 1 } } });
    expect(done.facts.map(({ fellBack }) => fellBack)).toEqual([true, true]);
  });

  it("gives up what runs beside it and begins nothing more", async () => {
    const gate = Promise.withResolvers<void>();
    let isTold = false;
    const { run, names } = runnerOf({
      slow: async ({ signal }) => {
        const told = Promise.withResolvers<void>();
        signal.addEventListener("abort", () => told.resolve());
        gate.resolve();
        await told.promise;
        isTold = true;
      },
      bad: async () => {
        await gate.promise;
        return new Failure(false);
      },
    });
    const outcome = await run(body({ slow: ["end"], bad: ["end"] }));
    expect(outcome).toMatchObject({
      kind: "failed",
      module: "bad",
      error: { message: "it broke" },
    });
    expect(isTold).toBe(true);
    expect(names()).toEqual(["slow", "bad"]);
  });
});

describe("time", () => {
  it("that is over fails an attempt, also when the module never answers", async () => {
    const deadlines: number[] = [];
    const deadline = (ms?: number): AbortSignal => {
      deadlines.push(ms ?? 0);
      return deadlines.length === 1 ? AbortSignal.abort() : never;
    };
    const hanging = runnerOf({ a: () => new Promise(() => undefined) }, () => AbortSignal.abort());
    expect(await hanging.run(body({ a: [] }, { a: { timeout_seconds: 2 } }))).toMatchObject({
      ...{ kind: "failed", module: "a" },
      error: { reason: "POLICY_TIMEOUT", message: "module a did not answer within its 2000 ms" },
    });
    const again = runnerOf({}, deadline);
    const done = await again.run(body({ a: [] }, { a: { timeout_seconds: 2, retries: 1 } }));
    expect(done).toMatchObject({ kind: "done", facts: [{ attempts: 2 }] });
    expect(deadlines).toEqual([7_000, 7_000]);
  });

  it("ends a module that is under way and does not heed its signal", async () => {
    const late = new AbortController();
    const { run } = runnerOf(
      {
        a: () => {
          late.abort();
          return new Promise(() => undefined);
        },
      },
      () => late.signal,
    );
    expect(await run(body({ a: [] }, { a: { fallback: 1 } }))).toMatchObject({
      ...{ kind: "done", output: 1, facts: [{ fellBack: true }] },
    });
  });

  it("is not taken by a run that is canceled: no retry, no fallback, nothing more", async () => {
    const caller = new AbortController();
    const { run, names } = runnerOf({
      a: () => {
        caller.abort();
        return new Promise(() => undefined);
      },
    });
    const fields = { a: { retries: 3, fallback: 1 } };
    const outcome = await run(body({ a: ["b"], b: [] }, fields), { signal: caller.signal });
    expect(outcome).toMatchObject({ kind: "failed", module: "a", error: { reason: "CANCELED" } });
    expect(names()).toEqual(["a"]);
    const before = await run(body({ a: [] }), { signal: caller.signal });
    expect(before).toMatchObject({ kind: "failed", module: undefined });
    expect(names()).toEqual(["a"]);
  });
});

/** A graph without cycles: edges lead from smaller to larger numbers. */
const dag = fc.integer({ min: 1, max: 14 }).chain((size) =>
  fc
    .array(fc.tuple(fc.nat(size - 1), fc.nat(size - 1)), { maxLength: 30 })
    .map((pairs): Record<string, string[]> => {
      const graph = Object.fromEntries(
        Array.from({ length: size }, (_, n): [string, string[]] => [`m${n}`, []]),
      );
      for (const [one, other] of pairs) {
        if (one !== other) graph[`m${Math.min(one, other)}`]?.push(`m${Math.max(one, other)}`);
      }
      return graph;
    }),
);

describe("any graph", () => {
  it("runs each module once, after all before it, as many at a time as may, and never more than 4", async () => {
    await fc.assert(
      fc.asyncProperty(dag, fc.scheduler(), async (graph, scheduler) => {
        const ended = new Set<string>();
        const begun: string[] = [];
        const isBefore = (one: string, module: string) => graph[one]?.includes(module) === true;
        const modules = Object.keys(graph);
        const answer = async ({ module, inputJson }: ModuleCall): Promise<string> => {
          begun.push(module);
          const before = modules.filter((one) => isBefore(one, module));
          expect(before.filter((one) => !ended.has(one))).toEqual([]);
          const given = Object.keys(JSON.parse(inputJson).previous_outputs);
          expect(before.filter((one) => !given.includes(one))).toEqual([]);
          expect(begun.length - ended.size).toBeLessThanOrEqual(4);
          await scheduler.schedule(Promise.resolve(), module);
          ended.add(module);
          return module;
        };
        const answers = Object.fromEntries(modules.map((module) => [module, answer]));
        const sinks = modules.filter((module) => graph[module]?.length === 0);
        const { run } = runnerOf(answers);
        const running = run(body(graph, {}, { output: sinks[0] }));
        const isReady = (module: string): boolean =>
          !begun.includes(module) &&
          modules.every((one) => !isBefore(one, module) || ended.has(one));
        while (ended.size < modules.length) {
          await new Promise(setImmediate);
          // A place is never left free while a module could take it.
          const ready = modules.filter(isReady).length;
          expect(ready > 0 && begun.length - ended.size < 4).toBe(false);
          await scheduler.waitOne();
        }
        expect((await running).kind).toBe("done");
        expect(begun.toSorted()).toEqual(modules.toSorted());
      }),
    );
  });
});
