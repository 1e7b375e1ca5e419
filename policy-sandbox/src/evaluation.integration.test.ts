import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type EvaluationRequest,
  type HostClient,
  LIMITS_BY_KIND,
  pythonPolicy,
  type Sandbox,
} from "./index.ts";
import { expectKind, openSandbox, policyWithBody, requestFor } from "./testing/sandbox-fixture.ts";

let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = openSandbox();
  await sandbox.ready();
});
afterAll(() => sandbox.close());

async function run(body: string, overrides: Partial<EvaluationRequest> = {}) {
  return sandbox.evaluate(requestFor(policyWithBody(body), overrides));
}

async function resultOf(body: string, overrides: Partial<EvaluationRequest> = {}) {
  return expectKind(await run(body, overrides), "returned").resultJson;
}

async function errorOf(body: string, overrides: Partial<EvaluationRequest> = {}) {
  return expectKind(await run(body, overrides), "raised").error;
}

describe("the call", () => {
  test("a policy gets its input and returns JSON, with what it cost", async () => {
    const inputJson = '{"inputs":{"gpus":2}}';
    const outcome = expectKind(
      await run("return {'want': input_data['inputs']['gpus']}", { inputJson }),
      "returned",
    );
    expect(JSON.parse(outcome.resultJson)).toEqual({ want: 2 });
    expect(outcome).toMatchObject({ contextJson: null, coldStart: true, logTruncated: false });
    expect(outcome.wallMs).toBeGreaterThan(0);
    expect(outcome.cpuMs).toBeGreaterThan(0);
  });

  test("constructor and eval are called positionally with one parameters object", async () => {
    const source = [
      "class AIOSv1PolicyRule:",
      "    def __init__(self, id, init_settings, init_params):",
      "        self.id, self.p = id, init_params",
      "    def eval(self, params, packet, state):",
      "        return [self.id, params is self.p, params]",
    ].join("\n");
    const outcome = await sandbox.evaluate(requestFor(source, { parametersJson: '{"max":8}' }));
    expect(expectKind(outcome, "returned").resultJson).toBe('["", true, {"max": 8}]');
  });

  test("the class of workflow modules gets the globals that settings and parameters hold", async () => {
    const source = [
      "class AgentSpaceV1PolicyRule:",
      "    def __init__(self, id, sets, params, global_sets, global_params, global_state):",
      "        self.given = [id, sets, params, global_sets, global_params, global_state]",
      "        self.params = params",
      "    def eval(self, params, packet, state):",
      "        return [*self.given, params is self.params, packet, state]",
    ].join("\n");
    const settingsJson = '{"s":1,"globalSettings":{"zone":"UTC"}}';
    const parametersJson = '{"p":2,"globalParameters":{"max":8.0}}';
    const inputJson = '{"in":3}';
    const request = requestFor(source, { settingsJson, parametersJson, inputJson });
    const given = expectKind(await sandbox.evaluate(request), "returned").resultJson;
    expect(given).toBe(
      '["", {"s": 1, "globalSettings": {"zone": "UTC"}}, {"p": 2, "globalParameters": {"max": 8.0}}, {"zone": "UTC"}, {"max": 8.0}, {}, true, {"in": 3}, {}]',
    );
    const bare = requestFor(source, { parametersJson: "[]" });
    const none = expectKind(await sandbox.evaluate(bare), "returned").resultJson;
    expect(none).toBe('["", {}, [], {}, {}, {}, true, {}, {}]');
  });

  test("an ordinary policy's class goes before that of workflow modules", async () => {
    const source = `${policyWithBody("return 'ordinary'")}\nclass AgentSpaceV1PolicyRule:\n    pass\n`;
    const outcome = await sandbox.evaluate(requestFor(source));
    expect(expectKind(outcome, "returned").resultJson).toBe('"ordinary"');
    const neither = await sandbox.evaluate(requestFor("x = 1"));
    expect(expectKind(neither, "raised").error.message).toBe(
      "function.py does not define the class AIOSv1PolicyRule or AgentSpaceV1PolicyRule",
    );
  });

  test("instance and module globals live between calls while nothing changes", async () => {
    const source = `calls = []\n${policyWithBody("calls.append(1)\nself.n = getattr(self, 'n', 0) + 1\nreturn [len(calls), self.n]")}`;
    const first = expectKind(await sandbox.evaluate(requestFor(source)), "returned");
    const second = expectKind(await sandbox.evaluate(requestFor(source)), "returned");
    const other = expectKind(
      await sandbox.evaluate(requestFor(source, { parametersJson: '{"a":1}' })),
      "returned",
    );
    const third = expectKind(await sandbox.evaluate(requestFor(source)), "returned");
    expect([first, second, other, third].map((outcome) => outcome.resultJson)).toEqual([
      "[1, 1]",
      "[2, 2]",
      "[1, 1]",
      "[3, 3]",
    ]);
    expect([first.coldStart, second.coldStart]).toEqual([true, false]);
  });

  test("numbers cross without loss", async () => {
    const inputJson = '{"a":10.0,"b":9223372036854775809,"c":1e30,"d":0.1}';
    expect(await resultOf("return input_data", { inputJson })).toBe(
      '{"a": 10.0, "b": 9223372036854775809, "c": 1e+30, "d": 0.1}',
    );
    expect(await resultOf("return 2**63 + 1")).toBe("9223372036854775809");
    const refused = await run("return 1", { inputJson: '{"a":1e400}' });
    expect(refused).toEqual({
      kind: "invalid_input",
      message: "input: the number 1e400 does not fit a double",
    });
  });

  test("management is called with its action and data", async () => {
    const source = `${policyWithBody("return None")}    def management(self, action, data):\n        return [action, data]\n`;
    const call = { kind: "management", action: "reset", dataJson: '{"id":1.0}' } as const;
    const outcome = await sandbox.evaluate(requestFor(source, { call }));
    expect(expectKind(outcome, "returned").resultJson).toBe('["reset", {"id": 1.0}]');
  });

  test("the environment holds what the caller gives and nothing of the host", async () => {
    const body = "import os\nreturn dict(os.environ)";
    expect(await resultOf(body)).toBe("{}");
    expect(await resultOf(body, { environment: { BLOCK_ID: "b1" } })).toBe('{"BLOCK_ID": "b1"}');
  });

  test("the clock is real and random numbers differ between workers' first draws", async () => {
    const now = Number(await resultOf("import time\nreturn time.time()"));
    expect(Math.abs(now * 1_000 - Date.now())).toBeLessThan(10_000);
    const draw = "import random, uuid\nreturn [random.random(), str(uuid.uuid4())]";
    const one = await resultOf(draw, { tenant: "draw/one" });
    expect(await resultOf(draw, { tenant: "draw/two" })).not.toBe(one);
  });
});

describe("modules", () => {
  test("modules and packages beside function.py can be imported and data files read", async () => {
    const code = pythonPolicy({
      "code/function.py": `import helpers\nfrom pkg.inner import VALUE\nimport os\n${policyWithBody("here = os.path.dirname(__file__)\nreturn [helpers.double(VALUE), open(here + '/data/x.txt').read()]")}`,
      "code/helpers.py": "def double(n):\n    return n * 2\n",
      "code/pkg/__init__.py": "",
      "code/pkg/inner.py": "from . import other\nVALUE = other.N\n",
      "code/pkg/other.py": "N = 21\n",
      "code/data/x.txt": "data",
    });
    const outcome = await sandbox.evaluate(requestFor("", { code }));
    expect(expectKind(outcome, "returned").resultJson).toBe('[42, "data"]');
  });

  test("modules of one version do not leak into another of the same policy", async () => {
    const version = (n: number) =>
      pythonPolicy({
        "code/function.py": `import helpers\n${policyWithBody("import helpers as late\nreturn [helpers.N, late.N]")}`,
        "code/helpers.py": `N = ${n}\n`,
      });
    const results: string[] = [];
    for (const n of [1, 2, 1]) {
      const outcome = await sandbox.evaluate(requestFor("", { code: version(n) }));
      results.push(expectKind(outcome, "returned").resultJson);
    }
    expect(results).toEqual(["[1, 1]", "[2, 2]", "[1, 1]"]);
  });

  test("the standard library is never shadowed", async () => {
    const code = pythonPolicy({
      "code/function.py": `import json\n${policyWithBody("return json.dumps({})")}`,
      "code/json.py": "raise RuntimeError('shadowed')",
    });
    expect(
      expectKind(await sandbox.evaluate(requestFor("", { code })), "returned").resultJson,
    ).toBe('"{}"');
  });

  test.each(["redis", "subprocess", "ctypes", "js", "pyodide_js", "multiprocessing"])(
    "import %s is a clear ImportError",
    async (module) => {
      const error = await errorOf(`import ${module}`);
      expect(["ImportError", "ModuleNotFoundError"]).toContain(error.type);
      expect(error.message).toContain(module);
    },
  );

  test("requests imports and its calls are denied as a ConnectionError", async () => {
    const body = [
      "import requests, json",
      "from requests.exceptions import RequestException, HTTPError",
      "seen = []",
      "for call in (lambda: requests.get('http://a/'), lambda: requests.Session().post('http://a/', json={})):",
      "    try: call()",
      "    except requests.ConnectionError as error: seen.append(str(error))",
      "response = requests.Response()",
      "response.status_code = 500",
      "try: response.raise_for_status()",
      "except HTTPError as error: seen.append(isinstance(error, RequestException))",
      "try: response.json()",
      "except json.JSONDecodeError as error: seen.append(isinstance(error, RequestException))",
      "return seen",
    ].join("\n");
    expect(JSON.parse(await resultOf(body))).toEqual([
      expect.stringContaining("egress denied: GET http://a/"),
      expect.stringContaining("egress denied: POST http://a/"),
      true,
      true,
    ]);
  });

  test("a socket reaches nothing", async () => {
    const error = await errorOf(
      "import socket\nsocket.create_connection(('127.0.0.1', 1), timeout=1)",
    );
    expect(error.type).toMatch(/Error$/);
    expect(
      (await errorOf("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:1/')")).type,
    ).toMatch(/Error$/);
  });
});

describe("host clients", () => {
  const clients: Record<string, HostClient> = {
    cluster_client: {
      methods: {
        read_cluster: ([id]) => ({ kind: "tuple", items: ["true", JSON.stringify({ id })] }),
      },
    },
    cluster_metrics_client: {
      methods: {
        get_cluster: ([id]) =>
          id === "c1"
            ? { kind: "value", json: '{"load":10.0}' }
            : { kind: "raise", type: "HTTPError", message: `404 for ${String(id)}` },
      },
    },
    get_metrics: {
      callable: async (_args, kwargs) => ({ kind: "value", json: JSON.stringify(kwargs) }),
      methods: {},
    },
  };

  test("calls are synchronous and give tuples, values and exceptions", async () => {
    const body = [
      "import requests",
      "ok, doc = self.settings['cluster_client'].read_cluster('c1')",
      "metrics = self.settings['cluster_metrics_client'].get_cluster('c1')",
      "try: self.settings['cluster_metrics_client'].get_cluster('c2')",
      "except requests.HTTPError as error: said = str(error)",
      "return [ok, doc, metrics, said, callable(self.settings['get_metrics']), self.settings['get_metrics'](a=1)]",
    ].join("\n");
    expect(await resultOf(body, { clients })).toBe(
      '[true, {"id": "c1"}, {"load": 10.0}, "404 for c2", true, {"a": 1}]',
    );
  });

  test("a client wins over a settings key of its name", async () => {
    const body = "return self.settings['cluster_client'].read_cluster('x')[0]";
    expect(await resultOf(body, { clients, settingsJson: '{"cluster_client":"mine"}' })).toBe(
      "true",
    );
  });

  test("an unknown method names the ones that exist", async () => {
    const error = await errorOf("self.settings['cluster_client'].delete_cluster('c1')", {
      clients,
    });
    expect(error.type).toBe("AttributeError");
    expect(error.message).toContain("read_cluster");
  });

  test("the number of calls is bounded", async () => {
    const body = "for n in range(1000): self.settings['get_metrics']()";
    const error = await errorOf(body, { clients });
    expect(error.message).toBe("more than 64 host calls");
  });

  test("a call that does not answer in time raises and its signal fires", async () => {
    const signals: AbortSignal[] = [];
    const slow: HostClient = {
      methods: {
        wait: (_args, _kwargs, signal) => {
          signals.push(signal);
          return new Promise(() => undefined);
        },
      },
    };
    const limits = { ...requestFor("").limits, hostCallMs: 50 };
    const error = await errorOf("self.settings['slow'].wait()", { clients: { slow }, limits });
    expect(error).toMatchObject({
      type: "TimeoutError",
      message: "slow.wait did not answer in time",
    });
    expect(signals[0]?.aborted).toBe(true);
  });
});

describe("output", () => {
  test("print, stderr and logging are apart from the result", async () => {
    const body = [
      "import logging, sys",
      "print('to stdout')",
      "print('to stderr', file=sys.stderr)",
      "logging.warning('warned')",
      "return 1",
    ].join("\n");
    const outcome = expectKind(await run(body), "returned");
    expect(outcome.resultJson).toBe("1");
    expect(outcome.log).toBe("to stdout\nto stderr\nWARNING:root:warned\n");
  });

  test("a flood is cut and flagged", async () => {
    const body = "for n in range(3000): print('ü' * 1000)\nreturn 1";
    const outcome = expectKind(await run(body), "returned");
    expect(outcome.logTruncated).toBe(true);
    expect(Buffer.byteLength(outcome.log)).toBeLessThanOrEqual(64 * 1024);
  });

  test.each([
    ["line by line", "line = 'x' * (1 << 20)\nfor n in range(1024): print(line)\nreturn 1"],
    [
      "to both streams",
      "import sys\nline = b'x' * (1 << 20)\nfor n in range(512):\n    sys.stdout.buffer.write(line)\n    sys.stderr.buffer.write(line)\nreturn 1",
    ],
  ])("a policy that prints 1 GB %s is heard to the limit and goes on", async (_name, body) => {
    const outcome = expectKind(await run(body, { limits: LIMITS_BY_KIND.allocator }), "returned");
    expect(outcome).toMatchObject({ resultJson: "1", logTruncated: true });
    expect(Buffer.byteLength(outcome.log)).toBe(64 * 1024);
  });

  test("an exception tells type, message, file, line and the policy's own frames", async () => {
    const source = `def pick(d):\n    return d['gpus']\n\n${policyWithBody("return pick({})")}`;
    const { error } = expectKind(await sandbox.evaluate(requestFor(source)), "raised");
    expect(error).toMatchObject({
      type: "KeyError",
      message: "'gpus'",
      file: "function.py",
      line: 2,
    });
    expect(error.traceback).toContain("return d['gpus']");
    expect(error.traceback).not.toContain("runner");
  });

  test("a syntax error, a missing class and a missing eval are told", async () => {
    const raised = async (source: string) =>
      expectKind(await sandbox.evaluate(requestFor(source)), "raised").error;
    expect(await raised("x = 1\ndef broken(:\n")).toMatchObject({
      type: "SyntaxError",
      file: "function.py",
      line: 2,
    });
    expect((await raised("x = 1")).message).toContain("AIOSv1PolicyRule");
    expect(
      (await raised("class AIOSv1PolicyRule:\n    def __init__(self, *a): pass\n")).message,
    ).toContain("eval");
  });

  test.each([
    ["return {'gpus': [1, float('nan')]}", "result.gpus[1]", "NaN is not valid JSON"],
    ["return [float('-inf')]", "result[0]", "-Infinity is not valid JSON"],
    ["return {'a b': {1, 2}}", 'result["a b"]', "set is not valid JSON"],
    ["return b'x'", "result", "bytes is not valid JSON"],
    ["return {('a',): 1}", "result", "a key is a tuple, expected a string"],
    [
      "a = []\na.append(a)\nreturn {'x': a}",
      "result.x[0]",
      "refers back to an object that contains it",
    ],
    ["a = []\nfor n in range(100): a = [a]\nreturn a", /^result(\[0\]){64}$/, "nested too deeply"],
    ["return 'x' * (2 << 20)", "result", /bytes as JSON, at most 1048576 are allowed/],
    ["context['x'] = {1}\nreturn 1", "context.x", "set is not valid JSON"],
    ["return {1: 'a', '1': 'b'}", 'result["1"]', /the keys 1 and '1' are one in JSON/],
    ["return [{'x': ({'true': 0, True: 1},)}]", "result[0].x[0].true", /'true' and True are one/],
    ["return {'null': 0, 'x': 1, None: 1}", "result.null", /'null' and None are one/],
    ["return {1.5: 0, '1.5': 1}", 'result["1.5"]', /1.5 and '1.5' are one/],
    [
      "import collections\nreturn collections.OrderedDict({2: 0, '2': 1})",
      'result["2"]',
      /are one/,
    ],
    [
      "class K(str):\n    __hash__ = object.__hash__\n    __eq__ = object.__eq__\nreturn {K('a'): 0, K('a'): 1}",
      "result.a",
      /the keys 'a' and 'a' are one/,
    ],
    ["context['x'] = {1: 'a', '1': 'b'}\nreturn 1", 'context.x["1"]', /are one in JSON/],
    ["context['x'] = 'y' * (300 << 10)\nreturn 1", "context", /at most 262144 are allowed/],
  ])("%j is refused with the place", async (body, path, message) => {
    const outcome = expectKind(await run(body), "invalid_result");
    expect(outcome.path).toMatch(path);
    expect(outcome.message).toMatch(message);
  });

  test("keys that are no strings are written as JSON writes them, as long as they stay apart", async () => {
    expect(await resultOf("return {1: {'a': 0, True: 1}, '2': {None: 0, 1.5: 1, 'None': 2}}")).toBe(
      '{"1": {"a": 0, "true": 1}, "2": {"null": 0, "1.5": 1, "None": 2}}',
    );
  });

  test("tuples become arrays, None is null and any text survives", async () => {
    expect(await resultOf("return (1, None, 'ä€\\n', chr(0xd800))")).toBe(
      String.raw`[1, null, "\u00e4\u20ac\n", "\ud800"]`,
    );
    expect(await resultOf("return 'ä\\x00'")).toBe(String.raw`"ä\u0000"`);
  });
});

test.each([
  [{ settingsJson: "[]" }, "settingsJson"],
  [{ parametersJson: "{" }, "parameters"],
  [{ inputJson: "NaN" }, "input"],
  [{ inputJson: "[".repeat(10_000) + "]".repeat(10_000) }, "inputJson"],
  [{ environment: { "a-b": "1" } }, "environment"],
  [{ tenant: "" }, "tenant"],
])("a request that cannot be evaluated is refused by field: %.60j", async (overrides, field) => {
  const outcome = expectKind(await run("return 1", overrides), "invalid_input");
  expect(outcome.message.startsWith(field)).toBe(true);
});
