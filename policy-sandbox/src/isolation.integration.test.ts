// What a policy leaves behind in its worker must not harm the evaluations after its own.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type HostClient, pythonPolicy, type Sandbox } from "./index.ts";
import { expectKind, openSandbox, policyWithBody, requestFor } from "./testing/sandbox-fixture.ts";

const NEXT = requestFor(policyWithBody("return 'next'"));
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = openSandbox();
  await sandbox.ready();
});
afterAll(() => sandbox.close());

function workerPid(): number | undefined {
  const workers = sandbox.stats().workers.filter((worker) => worker.state === "idle");
  return workers.find((worker) => worker.tenant === "default_org/test")?.pid;
}

/** A version of a policy with a data file; its `eval` has this body. */
function version(data: string, body: string) {
  const code = pythonPolicy({
    "code/function.py": policyWithBody(body),
    "code/d.json": JSON.stringify(data),
    "code/deep/er/x.txt": data,
  });
  return requestFor("", { code });
}

const READ = "return [open('/code/d.json').read(), open('/code/deep/er/x.txt').read()]";

describe("data files", () => {
  test.each([
    ["by a folder", "os.unlink('/code/d.json')\nos.makedirs('/code/d.json/full/of')"],
    ["by a link", "os.unlink('/code/d.json')\nos.symlink('/tmp/elsewhere', '/code/d.json')"],
    ["by a link to a folder", "os.unlink('/code/d.json')\nos.symlink('/lib', '/code/d.json')"],
    ["and closes the folders", "os.chmod('/code/deep', 0)\nos.chmod('/code', 0)\nos.chmod('/', 0)"],
    [
      "and nests folders",
      "path = '/code/deep'\nfor n in range(100):\n    path += '/n'\n    os.mkdir(path)",
    ],
    [
      "by a file instead of the whole folder",
      "import shutil\nshutil.rmtree('/code')\nopen('/code', 'w').close()",
    ],
  ])("a version that replaces its own %s leaves the next one whole", async (_name, replace) => {
    const first = version("first", `import os\n${replace}\nreturn 'replaced'`);
    const replaced = expectKind(await sandbox.evaluate(first), "returned");
    expect(replaced.resultJson).toBe('"replaced"');
    const before = workerPid();
    const second = expectKind(await sandbox.evaluate(version("second", READ)), "returned");
    expect(JSON.parse(second.resultJson)).toEqual(['"second"', "second"]);
    expect(workerPid()).toBe(before);
  });

  test("files that a version wrote beside its own are gone for the next one", async () => {
    await sandbox.evaluate(version("a", "open('/code/left.txt', 'w').close()\nreturn 1"));
    const listed = await sandbox.evaluate(version("b", "import os\nreturn os.listdir('/code')"));
    expect(JSON.parse(expectKind(listed, "returned").resultJson)).toEqual(["d.json", "deep"]);
  });

  test("a worker that cannot take the next version is given up, and that is told", async () => {
    const body =
      "import os\ndef broken(*a): raise OSError('broken by v1')\nos.lstat = broken\nreturn 1";
    expectKind(await sandbox.evaluate(version("breaking", body)), "returned");
    const broken = workerPid();
    const failed = expectKind(await sandbox.evaluate(version("victim", READ)), "crashed");
    expect(failed).toMatchObject({
      cause: "trap",
      message: "the policy could not be put in place: OSError: broken by v1",
    });
    const again = expectKind(await sandbox.evaluate(version("victim", READ)), "returned");
    expect(JSON.parse(again.resultJson)).toEqual(['"victim"', "victim"]);
    expect(workerPid()).not.toBe(broken);
  });
});

test.each([
  ["isinstance", "builtins.isinstance = None", /TypeError\("'NoneType' object is not callable"\)/],
  ["len", "builtins.len = lambda x: 1 / 0", /ZeroDivisionError/],
  ["everything", "vars(builtins).clear()", /NameError/],
])(
  "a policy that replaces a builtin (%s) is told so, and costs one worker",
  async (_name, line, what) => {
    const body = `import builtins\n${line}\nreturn 1`;
    const outcome = expectKind(await sandbox.evaluate(requestFor(policyWithBody(body))), "crashed");
    expect(outcome.cause).toBe("trap");
    expect(outcome.message).toMatch(what);
    expect(outcome.message).toMatch(/^the interpreter failed: .* changed Python's builtins$/);
    expectKind(await sandbox.evaluate(requestFor(policyWithBody("return 1"))), "returned");
  },
);

describe("with JavaScript reached through the host call", () => {
  const REACH = [
    "import sys",
    "hc = sys.modules['_berth.capabilities']._bridge['call']",
    "Function = hc.constructor",
    "Object = Function.prototype.__proto__.constructor",
    "Array = Object.keys(hc).constructor",
    "def bad(*a): raise RuntimeError('poisoned')",
  ].join("\n");

  test.each([
    ["Array.prototype.push", "Array.prototype.push = bad"],
    ["Array.prototype.map", "Array.prototype.map = bad"],
    ["Array.prototype[0]", "Object.defineProperty(Array.prototype, '0', Object.create(hc))"],
    ["Array itself", "Array.prototype.constructor = bad\nArray['from'] = bad"],
    ["Function.prototype.apply", "Function.prototype.apply = bad\nFunction.prototype.call = bad"],
    ["Object.keys", "Object.keys = bad"],
    ["Object.prototype.then", "Object.prototype.then = bad"],
  ])("a policy that poisons %s does not reach the next evaluation", async (_name, attempt) => {
    const lines = attempt.split("\n").map((line) => `try: ${line}\nexcept Exception: pass`);
    const body = `${REACH}\n${lines.join("\n")}\nreturn 'done'`;
    const before = await sandbox.evaluate(NEXT).then(workerPid);
    expectKind(await sandbox.evaluate(requestFor(policyWithBody(body))), "returned");
    expect(expectKind(await sandbox.evaluate(NEXT), "returned").resultJson).toBe('"next"');
    expect(workerPid()).toBe(before);
  });
});

describe("host calls", () => {
  test("a flood of calls past the limit ends the worker and names the limit", async () => {
    let answered = 0;
    const client: HostClient = {
      methods: {
        ping: () => {
          answered += 1;
          return { kind: "value", json: "1" };
        },
      },
    };
    const body = [
      "while True:",
      "    try: self.settings['c'].ping()",
      "    except BaseException: pass",
    ].join("\n");
    const request = requestFor(policyWithBody(body), { clients: { c: client } });
    const outcome = expectKind(await sandbox.evaluate(request), "crashed");
    expect(outcome).toMatchObject({
      cause: "host_calls",
      message: "the policy made more than 128 host calls, at most 64 are allowed",
    });
    expect(outcome.wallMs).toBeLessThan(4_000);
    expect(answered).toBe(64);
    expectKind(await sandbox.evaluate(NEXT), "returned");
  });

  test("arguments that are too large are a ValueError and the worker survives", async () => {
    const client: HostClient = { methods: { ping: () => ({ kind: "value", json: "1" }) } };
    const body = "self.settings['c'].ping('x' * (3 << 20))";
    const before = await sandbox.evaluate(NEXT).then(workerPid);
    const request = requestFor(policyWithBody(body), { clients: { c: client } });
    const { error } = expectKind(await sandbox.evaluate(request), "raised");
    expect(error).toMatchObject({
      type: "ValueError",
      message: "the arguments exceed 262144 characters",
    });
    expectKind(await sandbox.evaluate(NEXT), "returned");
    expect(workerPid()).toBe(before);
  });
});
