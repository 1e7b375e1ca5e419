// What a policy keeps between evaluations: read in its turn, written before the next one reads.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type EvaluationRequest,
  type HostClient,
  LIMITS_BY_KIND,
  type PolicyContext,
  type Sandbox,
} from "./index.ts";
import {
  expectKind,
  openSandbox,
  policyWithBody,
  requestFor,
  sandboxForTest,
  until,
} from "./testing/sandbox-fixture.ts";

let common: Sandbox;

beforeAll(async () => {
  common = openSandbox();
  await common.ready();
});
afterAll(() => common.close());

/** A context as a caller keeps it. */
class KeptContext implements PolicyContext {
  json: string;
  writes = 0;

  constructor(json = "{}") {
    this.json = json;
  }

  async read(): Promise<string> {
    return this.json;
  }

  write(json: string): void {
    this.writes += 1;
    this.json = json;
  }
}

const COUNT = "context['n'] = context.get('n', 0) + 1\nreturn context['n']";

function counting(context: PolicyContext, overrides: Partial<EvaluationRequest> = {}) {
  return requestFor(policyWithBody(COUNT), { context, ...overrides });
}

/** Two evaluations of the tenant that only end once both are there: then it has two workers. */
async function meeting(sandbox: Sandbox, overrides: Partial<EvaluationRequest> = {}) {
  let met = 0;
  const meet: HostClient = {
    callable: async () => {
      met += 1;
      await until(() => met > 1);
      return { kind: "value", json: "1" };
    },
    methods: {},
  };
  const limits = LIMITS_BY_KIND.allocator;
  const source = policyWithBody("return self.settings['meet']()");
  const request = requestFor(source, { limits, clients: { meet }, ...overrides });
  for (const outcome of await Promise.all([request, request].map((one) => sandbox.evaluate(one)))) {
    expect(expectKind(outcome, "returned").resultJson).toBe("1");
  }
}

test("a changed context is written, an unchanged one is not", async () => {
  const body = "if 'seen' in input_data: context['seen'] = input_data['seen']\nreturn context";
  const context = new KeptContext();
  const run = (inputJson: string) =>
    common.evaluate(requestFor(policyWithBody(body), { context, inputJson }));
  expect(expectKind(await run("{}"), "returned").contextJson).toBeNull();
  expect(context).toMatchObject({ json: "{}", writes: 0 });
  expect(expectKind(await run('{"seen":10.0}'), "returned").contextJson).toBe('{"seen": 10.0}');
  expect(context).toMatchObject({ json: '{"seen": 10.0}', writes: 1 });
  expect(expectKind(await run('{"seen":10.0}'), "returned")).toMatchObject({
    resultJson: '{"seen": 10.0}',
    contextJson: null,
  });
  expect(context.writes).toBe(1);
});

describe("evaluations at once lose no change", () => {
  const MANY = 200;

  test("of a policy that was seen to keep something", async () => {
    const sandbox = sandboxForTest({ maxRunning: 4 });
    await meeting(sandbox);
    const context = new KeptContext();
    expectKind(await sandbox.evaluate(counting(context)), "returned");
    const outcomes = await Promise.all(
      Array.from({ length: MANY }, () => sandbox.evaluate(counting(context))),
    );
    const results = outcomes.map((outcome) => Number(expectKind(outcome, "returned").resultJson));
    expect(results.sort((one, other) => one - other)).toEqual(
      Array.from({ length: MANY }, (_, index) => index + 2),
    );
    expect(JSON.parse(context.json)).toEqual({ n: MANY + 1 });
  });

  test.each([
    ["that has kept nothing yet", "{}", 20],
    ["whose context comes from before the start", '{"n":1000}', 1_020],
  ])("of a policy of which nothing is known, %s", async (_name, json, last) => {
    const sandbox = sandboxForTest({ maxRunning: 4 });
    await meeting(sandbox);
    const context = new KeptContext(json);
    await Promise.all(Array.from({ length: 20 }, () => sandbox.evaluate(counting(context))));
    expect(JSON.parse(context.json)).toEqual({ n: last });
  });

  test("while workers are killed: what is killed writes nothing, the others all count", async () => {
    const sandbox = sandboxForTest({ maxRunning: 4 });
    await meeting(sandbox);
    const context = new KeptContext();
    let calls = 0;
    const callable = () => {
      calls += 1;
      const running = sandbox.stats().workers.filter(({ state }) => state === "running");
      if (calls % 4 === 0) for (const { pid } of running) process.kill(pid, "SIGKILL");
      return { kind: "value", json: "null" } as const;
    };
    const clients = { killer: { methods: {}, callable } };
    const body = `self.settings['killer']()\n${COUNT}`;
    const request = requestFor(policyWithBody(body), { context, clients });
    expectKind(await sandbox.evaluate(request), "returned");
    const all = Array.from({ length: 12 }, () => sandbox.evaluate(request));
    const kinds = (await Promise.all(all)).map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === "returned")).toHaveLength(9);
    expect(kinds.filter((kind) => kind === "crashed")).toHaveLength(3);
    expect(calls).toBe(13);
    expect(JSON.parse(context.json)).toEqual({ n: 10 });
    expect(context.writes).toBe(10);
  });
});

test.each([
  ["raises", "raise KeyError('x')", "raised"],
  ["returns what is no result", "return float('nan')", "invalid_result"],
  ["leaves what is no context", "context['x'] = {1}\nreturn 1", "invalid_result"],
  ["runs out of time", "while True: pass", "timed_out"],
  [
    "ends its interpreter",
    "import sys\nsys.meta_path[:] = [f for f in sys.meta_path if 'Deny' not in repr(f)]\nimport ctypes\nctypes.CDLL(None).exit(3)",
    "crashed",
  ],
] as const)("an evaluation that %s writes nothing", async (_name, body, kind) => {
  const context = new KeptContext('{"n":7}');
  const wallMs = kind === "timed_out" ? 300 : 20_000;
  const limits = { ...LIMITS_BY_KIND.allocator, wallMs };
  const source = policyWithBody(`context['n'] = 8\n${body}`);
  const outcome = await common.evaluate(requestFor(source, { context, limits }));
  expect(outcome.kind).toBe(kind);
  expect(context).toMatchObject({ json: '{"n":7}', writes: 0 });
});

test("an evaluation that is canceled while it runs writes nothing", async () => {
  const sandbox = sandboxForTest();
  const context = new KeptContext();
  const stop = new AbortController();
  const body = `import time\ntime.sleep(3)\n${COUNT}`;
  const request = requestFor(policyWithBody(body), { context, signal: stop.signal });
  const outcome = sandbox.evaluate(request);
  await until(() => sandbox.stats().running === 1);
  stop.abort();
  expect(await outcome).toEqual({ kind: "canceled" });
  expect(context.writes).toBe(0);
});

test("policies that keep nothing run at the same time, once that is known", async () => {
  const sandbox = sandboxForTest({ maxRunning: 3 });
  const context = new KeptContext();
  const quiet = requestFor(policyWithBody("return context.get('n')"), { context });
  expectKind(await sandbox.evaluate(quiet), "returned");
  await meeting(sandbox, { context });
});

test("the context is read when a worker is free, beside the residents", async () => {
  const sandbox = sandboxForTest();
  await sandbox.ready();
  const context = new KeptContext();
  const slow = requestFor(policyWithBody("import time\ntime.sleep(0.5)\nreturn 1"));
  const first = sandbox.evaluate(slow);
  await until(() => sandbox.stats().running === 1);
  const shape = { kind: "list", part: "data" } as const;
  const second = sandbox.evaluate(
    counting(context, { inputJson: "null", resident: async () => ({ shape, documents: [] }) }),
  );
  context.json = '{"n":41}';
  await first;
  expect(expectKind(await second, "returned").resultJson).toBe("42");
});

describe("a context that cannot be had", () => {
  const telling = (json: string): PolicyContext => ({
    read: async () => json,
    write: () => undefined,
  });

  test.each([
    ["1", /^context: expected a JSON object$/],
    ["[]", /^context: expected a JSON object$/],
    ["{", /^context: not JSON, expected a JSON object$/],
    [`{"a":${"[".repeat(70)}${"]".repeat(70)}}`, /^context: nested 71 deep, at most 64/],
    ['{"a":1e999}', /^context: the number 1e999 does not fit a double/],
  ])("is refused by name, and the worker lives: %j", async (json, message) => {
    const outcome = await common.evaluate(counting(telling(json)));
    expect(expectKind(outcome, "invalid_input").message).toMatch(message);
    const next = await common.evaluate(counting(telling("{}")));
    expect(expectKind(next, "returned").resultJson).toBe("1");
  });

  test("is its caller's failure, does not outlast the deadline and can be canceled", async () => {
    const broken = {
      read: async () => Promise.reject(new Error("no store")),
      write: () => undefined,
    };
    await expect(common.evaluate(counting(broken))).rejects.toThrow("no store");
    const silent = { read: () => new Promise<string>(() => undefined), write: () => undefined };
    const limits = { ...LIMITS_BY_KIND.precheck, wallMs: 50 };
    expect(await common.evaluate(counting(silent, { limits }))).toEqual({
      kind: "overloaded",
      message: "reading the policy's context took longer than 50 ms",
    });
    const stop = new AbortController();
    const waiting = common.evaluate(counting(silent, { signal: stop.signal }));
    await until(() => common.stats().running === 1);
    stop.abort();
    expect(await waiting).toEqual({ kind: "canceled" });
    expectKind(await common.evaluate(counting(telling("{}"))), "returned");
  });
});

describe("whether a result counts", () => {
  test("is asked once with the result, and a context is only kept when it does", async () => {
    const context = new KeptContext();
    const asked: string[] = [];
    const run = (answer: boolean) =>
      common.evaluate(
        counting(context, {
          accept: (resultJson) => {
            expect(context.json).toBe(asked.length === 0 ? "{}" : '{"n": 1}');
            asked.push(resultJson);
            return answer;
          },
        }),
      );
    expect(expectKind(await run(true), "returned").resultJson).toBe("1");
    const refused = expectKind(await run(false), "returned");
    expect(refused).toMatchObject({ resultJson: "2", contextJson: '{"n": 2}' });
    expect(context).toMatchObject({ json: '{"n": 1}', writes: 1 });
    expect(expectKind(await run(true), "returned").resultJson).toBe("2");
    expect(asked).toEqual(["1", "2", "2"]);
  });

  test("is asked within the turn: the next of the policy reads what was left", async () => {
    const sandbox = sandboxForTest({ maxRunning: 4 });
    await meeting(sandbox);
    const context = new KeptContext('{"n":0}');
    let asked = 0;
    const accept = () => {
      asked += 1;
      return asked % 2 === 1;
    };
    const all = Array.from({ length: 20 }, () => sandbox.evaluate(counting(context, { accept })));
    for (const outcome of await Promise.all(all)) expectKind(outcome, "returned");
    expect(asked).toBe(20);
    expect(context).toMatchObject({ json: '{"n": 10}', writes: 10 });
  });

  test("is asked without a context, too, and of nothing but a result", async () => {
    const asked: string[] = [];
    const accept = (resultJson: string) => {
      asked.push(resultJson);
      return false;
    };
    const run = (body: string) => common.evaluate(requestFor(policyWithBody(body), { accept }));
    expectKind(await run("return 10.0"), "returned");
    expectKind(await run("raise KeyError('x')"), "raised");
    expectKind(await run("return float('nan')"), "invalid_result");
    expect(asked).toEqual(["10.0"]);
  });
});
