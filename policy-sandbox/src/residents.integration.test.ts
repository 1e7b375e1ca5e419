// Documents that stay in a worker between evaluations: what crosses, what the policy sees, who may write.
import { afterEach, describe, expect, test } from "vitest";
import {
  type EvaluationRequest,
  LIMITS_BY_KIND,
  type ResidentDocument,
  type ResidentInput,
  type Sandbox,
  type SandboxOptions,
} from "./index.ts";
import {
  expectKind,
  openSandbox,
  policyWithBody,
  requestFor,
  until,
} from "./testing/sandbox-fixture.ts";

const FIELDS = { data: "data", cluster_metrics: "metrics", metrics: "metrics" };
const MEMBERS = { kind: "members", key: "cluster_data", fields: FIELDS } as const;
const TENANT = "default_org/test";
const opened: Sandbox[] = [];

/** A sandbox that never samples, unless told. */
function open(options: Partial<SandboxOptions> = {}): Sandbox {
  const sandbox = openSandbox({ inputCheckShare: 0, ...options });
  opened.push(sandbox);
  return sandbox;
}

afterEach(async () => {
  await Promise.all(opened.splice(0).map((sandbox) => sandbox.close()));
});

function cluster(
  id: string,
  version = 1,
  data: unknown = { id, version, nodes: [] },
): ResidentDocument {
  const metrics = { version: 1, json: '{"load":10.0,"big":9223372036854775809}' };
  return { id, parts: { data: { version, json: JSON.stringify(data) }, metrics } };
}

function requestOn(
  body: string,
  documents: readonly ResidentDocument[],
  overrides: Partial<EvaluationRequest> = {},
): EvaluationRequest {
  const resident: ResidentInput = { shape: MEMBERS, documents };
  return requestFor(policyWithBody(body), {
    inputJson: '{"inputs":{"gpus":2}}',
    resident,
    ...overrides,
  });
}

async function returned(sandbox: Sandbox, request: EvaluationRequest) {
  return expectKind(await sandbox.evaluate(request), "returned");
}

/** Three evaluations that leave the input alone; the fourth gets the documents themselves. */
async function earnTrust(sandbox: Sandbox, request: EvaluationRequest): Promise<void> {
  for (let count = 0; count < 3; count += 1) {
    expect(await returned(sandbox, request)).toMatchObject({
      inputCopied: true,
      inputChanged: false,
    });
  }
}

const SEE =
  "c = input_data['cluster_data']\nreturn [input_data['inputs'], list(c), {k: v['data']['version'] for k, v in c.items()}]";

describe("input_data", () => {
  test("has the documents in their order beside the inputs, and two fields of one part are one object", async () => {
    const sandbox = open();
    const body =
      "d = input_data['cluster_data']['c2']\nreturn [list(d), d['metrics'] is d['cluster_metrics'], d['metrics']]";
    const documents = [cluster("c2"), cluster("c1")];
    for (let count = 0; count < 5; count += 1) {
      const seen = await returned(sandbox, requestOn(SEE, documents));
      expect(seen.resultJson).toBe('[{"gpus": 2}, ["c2", "c1"], {"c2": 1, "c1": 1}]');
      expect((await returned(sandbox, requestOn(body, documents))).resultJson).toBe(
        '[["data", "cluster_metrics", "metrics"], true, {"load": 10.0, "big": 9223372036854775809}]',
      );
    }
  });

  test("is the list of one part, null parts and candidates in any order included", async () => {
    const sandbox = open();
    const shape = { kind: "list", part: "data" } as const;
    const documents = [cluster("a", 1, null), cluster("b", 1, 2), cluster("c", 1, [10])];
    for (const order of [documents, [...documents].reverse(), documents.slice(1), []]) {
      const resident = { shape, documents: order };
      const request = requestOn("return input_data", [], { resident, inputJson: "null" });
      const values = order.map((document) => JSON.parse(document.parts.data?.json ?? ""));
      expect(JSON.parse((await returned(sandbox, request)).resultJson)).toEqual(values);
    }
  });

  test("is fresh on the outside each time: what a policy adds there does not stay", async () => {
    const sandbox = open();
    const body = [
      "c = input_data['cluster_data']",
      "seen = [len(input_data), len(c), len(c['c1'])]",
      "c['new'] = 1",
      "c['c1']['extra'] = 1",
      "input_data['more'] = 1",
      "return seen",
    ].join("\n");
    for (let count = 0; count < 5; count += 1) {
      const outcome = await returned(sandbox, requestOn(body, [cluster("c1")]));
      expect(outcome).toMatchObject({ resultJson: "[2, 1, 3]", inputChanged: false });
    }
  });

  test("a function tells the documents when a worker is free, and its failure is the caller's", async () => {
    const sandbox = open();
    const resident = async () => ({ shape: MEMBERS, documents: [cluster("late")] });
    const outcome = await returned(sandbox, requestOn(SEE, [], { resident }));
    expect(outcome.resultJson).toContain('["late"]');
    const broken = async () => Promise.reject(new Error("no inventory"));
    await expect(sandbox.evaluate(requestOn(SEE, [], { resident: broken }))).rejects.toThrow(
      "no inventory",
    );
    const silent = () => new Promise<ResidentInput>(() => undefined);
    const limits = { ...LIMITS_BY_KIND.precheck, wallMs: 50 };
    expect(await sandbox.evaluate(requestOn(SEE, [], { resident: silent, limits }))).toEqual({
      kind: "invalid_input",
      message: "resident: not told within 50 ms",
    });
    const stop = new AbortController();
    const waiting = sandbox.evaluate(requestOn(SEE, [], { resident: silent, signal: stop.signal }));
    await until(() => sandbox.stats().running === 1);
    stop.abort();
    expect(await waiting).toEqual({ kind: "canceled" });
    await returned(sandbox, requestOn(SEE, []));
  });
});

describe("what crosses", () => {
  /** The ids of the objects tell which documents the worker has parsed anew. */
  const IDS =
    "return {k: [id(v['data']), v['data']['version']] for k, v in input_data['cluster_data'].items()}";

  test("is what has changed, and nothing else", async () => {
    const sandbox = open();
    const documents = [cluster("c1"), cluster("c2")];
    await earnTrust(sandbox, requestOn(IDS, documents));
    const idsOf = async (wanted: readonly ResidentDocument[]) =>
      JSON.parse((await returned(sandbox, requestOn(IDS, wanted))).resultJson);
    const before = await idsOf(documents);
    expect(await idsOf(documents)).toEqual(before);
    const after = await idsOf([cluster("c1"), cluster("c2", 2)]);
    expect(after.c1).toEqual(before.c1);
    expect(after.c2[1]).toBe(2);
    expect(after.c2[0]).not.toBe(before.c2[0]);
  });

  test("is edits of what the worker holds, where the caller knows some", async () => {
    const sandbox = open();
    const body =
      "c = input_data['cluster_data']['c1']['data']\nkept = getattr(self, 'kept', None)\nself.kept = c\nreturn [c, kept is c]";
    const asked: unknown[] = [];
    const part = (version: number, data: object, edits?: string) => ({
      version,
      get json() {
        asked.push(version);
        return JSON.stringify(data);
      },
      ...(edits === undefined
        ? {}
        : { editsFrom: () => edits, shapedLike: { version: 0, json: JSON.stringify(data) } }),
    });
    const request = (data: ReturnType<typeof part>) =>
      requestOn(body, [{ id: "c1", parts: { data, metrics: { version: 1, json: "null" } } }]);
    const first = part(1, { nodes: [{ free: 2 }, { free: 3 }], status: "live" });
    await earnTrust(sandbox, request(first));
    const edited = part(
      2,
      { nodes: [{ free: 2 }, { free: 1 }], status: "gone" },
      '[[["nodes",1,"free"],1],[["status"],"gone"]]',
    );
    asked.length = 0;
    const { resultJson } = await returned(sandbox, request(edited));
    expect(JSON.parse(resultJson)).toEqual([
      { nodes: [{ free: 2 }, { free: 1 }], status: "gone" },
      false,
    ]);
    expect(asked).toEqual([]);
    const again = await returned(sandbox, request(edited));
    expect(JSON.parse(again.resultJson)[1]).toBe(true);
  });

  test("is the text for a worker that holds nothing, also where edits are known", async () => {
    const sandbox = open();
    const data = {
      version: 2,
      json: '{"status":"gone"}',
      editsFrom: () => '[[["status"],"wrong"]]',
    };
    const parts = { data, metrics: { version: 1, json: "null" } };
    const body = "return input_data['cluster_data']['c1']['data']['status']";
    const { resultJson } = await returned(sandbox, requestOn(body, [{ id: "c1", parts }]));
    expect(resultJson).toBe('"gone"');
  });

  test("is everything again for another worker, whose evaluations are trusted as before", async () => {
    const sandbox = open();
    const documents = [cluster("c1"), cluster("c2")];
    await earnTrust(sandbox, requestOn(SEE, documents));
    const worker = sandbox.stats().workers.find(({ tenant }) => tenant === TENANT);
    process.kill(worker?.pid ?? 0, "SIGKILL");
    await until(() => !sandbox.stats().workers.some(({ pid }) => pid === worker?.pid));
    const outcome = await returned(sandbox, requestOn(SEE, documents));
    expect(outcome).toMatchObject({ coldStart: true, inputCopied: false });
    expect(outcome.resultJson).toBe('[{"gpus": 2}, ["c1", "c2"], {"c1": 1, "c2": 1}]');
  });

  test("comes back when it was dropped for want of room", async () => {
    const sandbox = open({ maxResidentMiB: 1 });
    const big = (id: string) => cluster(id, 1, { version: 1, pad: "x".repeat(400 * 1024) });
    for (const ids of [["c1"], ["c2"], ["c3"], ["c1", "c3"], ["c2"]]) {
      const outcome = await returned(sandbox, requestOn(SEE, ids.map(big)));
      expect(JSON.parse(outcome.resultJson)[1]).toEqual(ids);
    }
    const refused = await sandbox.evaluate(requestOn(SEE, ["c1", "c2", "c3"].map(big)));
    expect(expectKind(refused, "invalid_input").message).toMatch(
      /^resident: the documents need \d+ bytes, at most 1048576 are allowed$/,
    );
  });

  test("never reaches another tenant", async () => {
    const sandbox = open({ maxWorkers: 1 });
    const secret = cluster("c1", 1, { version: 1, secret: "of a" });
    await earnTrust(sandbox, requestOn(SEE, [secret], { tenant: "org/a" }));
    const search = [
      "import sys",
      "held = sys.modules['_berth.runner'].residents",
      "def walk(f):",
      "    while f is not None:",
      "        yield f.f_locals",
      "        f = f.f_back",
      "self_ = next(v['self'] for v in walk(sys._getframe()) if '_residents' in dir(v.get('self')))",
      "return [str(self_._residents._held.parts), list(input_data['cluster_data'])]",
    ].join("\n");
    const own = requestOn(search, [cluster("c9")], { tenant: "org/a" });
    expect((await returned(sandbox, own)).resultJson).toContain("of a");
    const other = requestOn(search, [cluster("c9")], { tenant: "org/b" });
    const seen = (await returned(sandbox, other)).resultJson;
    expect(seen).not.toContain("of a");
    expect(seen).toContain("c9");
  });
});

describe("a policy that changes its input", () => {
  const WRITE =
    "d = input_data['cluster_data']['c1']['data']\nd['seen'] = d.get('seen', 0) + 1\nreturn d['seen']";

  test("works on copies from the start, is marked and never sees its own traces", async () => {
    const sandbox = open();
    const first = await returned(sandbox, requestOn(WRITE, [cluster("c1")]));
    expect(first).toMatchObject({ resultJson: "1", inputCopied: true, inputChanged: true });
    for (let count = 0; count < 5; count += 1) {
      const next = await returned(sandbox, requestOn(WRITE, [cluster("c1")]));
      expect(next).toMatchObject({ resultJson: "1", inputCopied: true, inputChanged: true });
    }
  });

  test.each([
    [
      "a value by an equal one of another type",
      "input_data['cluster_data']['c1']['data']['version'] = True",
    ],
    ["a float by an equal integer", "input_data['cluster_data']['c1']['metrics']['load'] = 10"],
    [
      "the order of the keys",
      "d = input_data['cluster_data']['c1']['data']\nd['id'] = d.pop('id')",
    ],
    [
      "a value by something that is no JSON",
      "input_data['cluster_data']['c1']['data']['x'] = object()",
    ],
    ["a list by itself", "n = input_data['cluster_data']['c1']['data']['nodes']\nn.append(n)"],
    [
      "something and then raises",
      "input_data['cluster_data']['c1']['data']['x'] = 1\nraise KeyError('x')",
    ],
  ])("is seen when it replaces %s", async (_name, body) => {
    const sandbox = open();
    expect(await sandbox.evaluate(requestOn(`${body}\nreturn 1`, [cluster("c1")]))).toMatchObject({
      inputChanged: true,
    });
  });

  test.each([
    ["reads it", "return str(input_data)"],
    [
      "keeps a part of it",
      "self.kept = input_data['cluster_data']['c1']['data']['nodes']\nreturn 1",
    ],
    ["copies and sorts it", "return sorted(list(input_data['cluster_data']['c1']['data']))"],
    ["raises", "raise KeyError('x')"],
  ])("is not taken for one that %s", async (_name, body) => {
    const sandbox = open();
    for (let count = 0; count < 4; count += 1) {
      const outcome = await sandbox.evaluate(requestOn(body, [cluster("c1")]));
      expect(outcome).toMatchObject({ inputChanged: false, inputCopied: count < 3 });
    }
  });

  test("late is found by a sample, and everything is pulled anew", async () => {
    const sandbox = open({ inputCheckShare: 1 });
    const body =
      "self.n = getattr(self, 'n', 0) + 1\nif self.n >= 4: input_data['cluster_data']['c1']['data']['mark'] = 1\nreturn 'mark' in input_data['cluster_data']['c1']['data']";
    await earnTrust(sandbox, requestOn(body, [cluster("c1")]));
    const late = await returned(sandbox, requestOn(body, [cluster("c1")]));
    expect(late).toMatchObject({ inputCopied: false, inputChanged: true });
    const after = requestOn("return 'mark' in input_data['cluster_data']['c1']['data']", [
      cluster("c1"),
    ]);
    expect(await returned(sandbox, after)).toMatchObject({ resultJson: "false" });
    expect(await returned(sandbox, requestOn(body, [cluster("c1")]))).toMatchObject({
      inputCopied: true,
      inputChanged: true,
    });
  });

  test("through a reference that it kept is found as well, with all who shared the documents", async () => {
    const sandbox = open({ inputCheckShare: 1 });
    const reader = requestOn("return input_data['cluster_data']['c1']['data'].get('mark')", [
      cluster("c1"),
    ]);
    await earnTrust(sandbox, reader);
    const keeper =
      "import sys\nsys.kept = getattr(sys, 'kept', [])\nsys.kept.append(input_data['cluster_data']['c1']['data'])\nreturn 1";
    await earnTrust(sandbox, requestOn(keeper, [cluster("c1")]));
    expect(await returned(sandbox, requestOn(keeper, [cluster("c1")]))).toMatchObject({
      inputCopied: false,
      inputChanged: false,
    });
    const writer = requestFor(policyWithBody("import sys\nsys.kept[-1]['mark'] = 1\nreturn 1"));
    expect(await returned(sandbox, writer)).toMatchObject({ inputChanged: false });
    expect(await returned(sandbox, reader)).toMatchObject({ inputChanged: true });
    expect(await returned(sandbox, reader)).toMatchObject({
      resultJson: "null",
      inputCopied: true,
    });
    expect(await returned(sandbox, requestOn(keeper, [cluster("c1")]))).toMatchObject({
      inputCopied: true,
      inputChanged: true,
    });
  });

  test("stays marked when its worker is gone", async () => {
    const sandbox = open();
    await returned(sandbox, requestOn(WRITE, [cluster("c1")]));
    const worker = sandbox.stats().workers.find(({ tenant }) => tenant === TENANT);
    process.kill(worker?.pid ?? 0, "SIGKILL");
    await until(() => !sandbox.stats().workers.some(({ pid }) => pid === worker?.pid));
    expect(await returned(sandbox, requestOn(WRITE, [cluster("c1")]))).toMatchObject({
      coldStart: true,
      inputCopied: true,
      inputChanged: true,
    });
  });
});

describe("an intake that fails", () => {
  test("names the document that is not JSON, and the next one is whole", async () => {
    const sandbox = open();
    await returned(sandbox, requestOn(SEE, [cluster("c1")]));
    const wrong = { id: "c2", parts: { ...cluster("c2").parts, data: { version: 1, json: "{" } } };
    for (const [json, message] of [
      ["{", /^resident c2\.data: Expecting property name/],
      ["[NaN]", /^resident c2\.data: NaN is not valid JSON/],
      ["[1e400]", /^resident c2\.data: the number 1e400 does not fit a double/],
    ] as const) {
      const bad = { ...wrong, parts: { ...wrong.parts, data: { version: json, json } } };
      const refused = await sandbox.evaluate(requestOn(SEE, [cluster("c1", 2), bad]));
      expect(expectKind(refused, "invalid_input").message).toMatch(message);
    }
    const after = await returned(sandbox, requestOn(SEE, [cluster("c1", 2), cluster("c2", 2)]));
    expect(JSON.parse(after.resultJson)[2]).toEqual({ c1: 2, c2: 2 });
  });

  test("because the deadline comes in the middle leaves what was there before", async () => {
    const sandbox = open();
    await returned(sandbox, requestOn(SEE, [cluster("c1")]));
    const worker = sandbox.stats().workers.find(({ tenant }) => tenant === TENANT);
    const many = Array.from({ length: 400 }, (_, n) =>
      cluster(`c${n}`, 2, { version: 2, numbers: Array.from({ length: 4_000 }, () => n + 0.5) }),
    );
    const limits = { ...LIMITS_BY_KIND.precheck, wallMs: 60 };
    const late = await sandbox.evaluate(requestOn(SEE, many, { limits }));
    expect(late).toMatchObject({ kind: "timed_out", limit: "wall" });
    expect((await returned(sandbox, requestOn(SEE, [cluster("c1")]))).resultJson).toContain(
      '"c1": 1',
    );
    const roomy = { ...LIMITS_BY_KIND.allocator };
    const all = await returned(sandbox, requestOn(SEE, many, { limits: roomy }));
    expect(JSON.parse(all.resultJson)[2]).toMatchObject({ c0: 2, c399: 2 });
    expect(sandbox.stats().workers.some(({ pid }) => pid === worker?.pid)).toBe(true);
  });

  test("is told when inputJson is no object", async () => {
    const sandbox = open();
    const refused = await sandbox.evaluate(requestOn(SEE, [cluster("c1")], { inputJson: "[]" }));
    expect(expectKind(refused, "invalid_input").message).toMatch(/^input: expected a JSON object/);
    await returned(sandbox, requestOn(SEE, [cluster("c1")]));
  });
});

test("the documents do not eat the memory that a policy may use, nor does it grow beyond bounds", async () => {
  const sandbox = open();
  const numbers = Array.from({ length: 120_000 }, (_, n) => n + 0.5);
  const many = Array.from({ length: 24 }, (_, n) => cluster(`c${n}`, 1, { version: 1, numbers }));
  const limits = { ...LIMITS_BY_KIND.allocator, memoryMiB: 96 };
  const source =
    "self.mine = None\nself.mine = bytearray(40 << 20)\nreturn len(input_data['cluster_data'])";
  const reader = requestOn("return len(input_data['cluster_data'])", many.slice(0, 1), { limits });
  await earnTrust(sandbox, reader);
  const all = { ...reader, resident: { shape: MEMBERS, documents: many } };
  expect((await returned(sandbox, all)).resultJson).toBe("24");
  const modest = requestOn(source, many.slice(0, 1), { limits });
  expect((await returned(sandbox, modest)).resultJson).toBe("1");
  const greedy = requestOn("x = []\nwhile True: x.append(bytearray(8 << 20))", many.slice(0, 1), {
    limits: { ...limits, wallMs: 15_000, cpuMs: 15_000 },
  });
  const { error } = expectKind(await sandbox.evaluate(greedy), "raised");
  expect(error.type).toBe("MemoryError");
});

test("a policy that lies about its documents ends its worker, not the next evaluation", async () => {
  const sandbox = open();
  const lie = [
    "import sys",
    "sys.modules['_berth.residents'].Residents.revision = lambda self: input_data['lie']",
    "return 1",
  ].join("\n");
  for (const value of ["99", "-1", '"x"']) {
    const outcome = await sandbox.evaluate(
      requestOn(lie, [cluster("c1")], { inputJson: `{"lie":${value}}` }),
    );
    expect(expectKind(outcome, "crashed").cause).toBe("protocol");
  }
  expect((await returned(sandbox, requestOn(SEE, [cluster("c1")]))).resultJson).toContain(
    '"c1": 1',
  );
});
