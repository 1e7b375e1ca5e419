// What instances of one policy hold between evaluations costs no evaluation its memory.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import {
  type EvaluationRequest,
  LIMITS_BY_KIND,
  pythonPolicy,
  type Sandbox,
  type SandboxEvent,
} from "./index.ts";
import { expectKind, openSandbox, policyWithBody, requestFor } from "./testing/sandbox-fixture.ts";

const events: SandboxEvent[] = [];
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = openSandbox({ onEvent: (event) => events.push(event) });
  await sandbox.ready();
});
beforeEach(() => {
  events.length = 0;
});
afterAll(() => sandbox.close());

const limits = LIMITS_BY_KIND.allocator;

function holding(mebibytes: number, body = "return len(BIG) >> 20"): string {
  return `BIG = bytearray(${mebibytes} << 20)\n${policyWithBody(body)}`;
}

async function returned(
  tenant: string,
  source: string,
  overrides: Partial<EvaluationRequest> = {},
) {
  const request = requestFor(source, { tenant: `org/${tenant}`, limits, ...overrides });
  return expectKind(await sandbox.evaluate(request), "returned");
}

function killed(tenant: string): string[] {
  return events.flatMap((event) =>
    event.kind === "worker_killed" && event.tenant === `org/${tenant}` ? event.reason : [],
  );
}

test("parameters of which each makes an instance of 60 MiB all get a result, again and again", async () => {
  const source = holding(60);
  for (const k of [0, 1, 2, 3, 4, 5, 0, 1]) {
    const { resultJson } = await returned("sixty", source, { parametersJson: `{"k":${k}}` });
    expect(resultJson).toBe("60");
  }
  expect(killed("sixty")).toEqual([]);
});

test("three versions that hold 100 MiB each all get a result", async () => {
  for (const version of [1, 2, 3, 1]) {
    const { resultJson } = await returned("hundred", holding(100, `return ${version}`));
    expect(resultJson).toBe(String(version));
  }
  expect(killed("hundred")).toEqual([]);
});

test("small instances stay beside each other", async () => {
  const source = holding(10);
  const cold: boolean[] = [];
  for (const k of [0, 1, 2, 0, 1, 2]) {
    const { coldStart } = await returned("small", source, { parametersJson: `{"k":${k}}` });
    cold.push(coldStart);
  }
  expect(cold).toEqual([true, true, true, false, false, false]);
});

test("an instance that does not fit beside another is loaded once more without it", async () => {
  const mebibyte = "bytearray(1 << 20)";
  const filling = policyWithBody("return len(BIG)");
  const source = (count: number) => `BIG = [${mebibyte} for _ in range(${count})]\n${filling}`;
  expect((await returned("beside", source(100))).resultJson).toBe("100");
  const next = await returned("beside", source(180));
  expect(next).toMatchObject({ resultJson: "180", coldStart: true });
  expect(killed("beside")).toEqual([]);
});

test("where the pieces that are left are too small, it is loaded in another worker", async () => {
  const helpers = "BIG = bytearray(80 << 20)\n";
  const entry = `import helpers\n${holding(90, "return (len(BIG) + len(helpers.BIG)) >> 20")}`;
  expect((await returned("pieces", holding(80))).resultJson).toBe("80");
  const code = pythonPolicy({ "code/function.py": entry, "code/helpers.py": helpers });
  expect((await returned("pieces", "", { code })).resultJson).toBe("170");
});

test("documents do not count as what instances hold", async () => {
  const source = holding(10, "return len(input_data)");
  const numbers = JSON.stringify(Array.from({ length: 300_000 }, (_, n) => n + 0.5));
  const documents = ["a", "b", "c"].map((id) => {
    return { id, parts: { data: { version: 1, json: numbers } } };
  });
  const resident = { shape: { kind: "list", part: "data" }, documents } as const;
  const few = { ...limits, memoryMiB: 96 };
  const cold: boolean[] = [];
  for (const k of [0, 1, 0, 1]) {
    const parametersJson = `{"k":${k}}`;
    const overrides = { resident, inputJson: "null", limits: few, parametersJson };
    const { resultJson, coldStart } = await returned("documents", source, overrides);
    expect(resultJson).toBe("3");
    cold.push(coldStart);
  }
  expect(cold).toEqual([true, true, false, false]);
});

test("what a version that failed has left behind takes no memory from the next", async () => {
  const failing = requestFor(`import helpers\nraise KeyError("x")`, {
    tenant: "org/failing",
    limits,
  });
  const code = pythonPolicy({
    ...failing.code.files,
    "code/helpers.py": "BIG = bytearray(80 << 20)",
  });
  expectKind(await sandbox.evaluate({ ...failing, code }), "raised");
  expect((await returned("failing", holding(200))).resultJson).toBe("200");
  expect(killed("failing")).toEqual([]);
});

test("an evaluation that runs out of memory costs its worker and no other evaluation", async () => {
  const tenant = "greedy";
  await returned(tenant, holding(40));
  const greedy = policyWithBody("x = []\nwhile True: x.append(bytearray(8 << 20))");
  const outcome = await sandbox.evaluate(requestFor(greedy, { tenant: `org/${tenant}`, limits }));
  expect(expectKind(outcome, "raised").error.type).toBe("MemoryError");
  const next = await returned(tenant, holding(200));
  expect(next).toMatchObject({ resultJson: "200", coldStart: true });
  expect(killed(tenant)).toEqual(["an evaluation ran out of memory in it"]);
});

test("a module that never fits raises MemoryError each time, and the others go on", async () => {
  for (const _attempt of [1, 2]) {
    const request = requestFor(holding(400), { tenant: "org/huge", limits });
    const { error } = expectKind(await sandbox.evaluate(request), "raised");
    expect(error).toMatchObject({ type: "MemoryError", file: "function.py", line: 1 });
    expect((await returned("huge", holding(100))).resultJson).toBe("100");
  }
});
