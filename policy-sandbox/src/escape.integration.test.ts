// The escape suite. Attempts come from the prototypes and public write-ups (CVE-2025-68668 and its class);
// each asserts what the attempt meets. Three layers, each tested without the ones before it: the Python seal,
// the sealed realm, the process without permissions.
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pyodideDir, workerFlags, xzScript } from "./host/spawn-worker.ts";
import { LIMITS_BY_KIND, type Sandbox } from "./index.ts";
import { expectKind, openSandbox, policyWithBody, requestFor } from "./testing/sandbox-fixture.ts";
import { openRealm, type Realm } from "./worker/realm.ts";

// What only the host has: its program, its users, its environment.
const HOST_VALUES = new RegExp(
  [
    "uid=",
    "root:x",
    process.version.replaceAll(".", "\\."),
    "node_modules",
    "\\[object process\\]",
  ].join("|"),
);
const NO_CODEGEN = /EvalError: Code generation from strings disallowed/;
const JS_DENIED = /not available in the policy sandbox/;

let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = openSandbox();
  await sandbox.ready();
});
afterAll(() => sandbox.close());

describe("the Python seal gives clear errors", () => {
  test.each([
    ["import js", /'js' is not available in the policy sandbox/],
    ["import pyodide_js", /not available/],
    ["from pyodide.code import run_js", /not available/],
    ["import ctypes", /not available/],
    ["import subprocess", /not available/],
    ["import os\nos.system('id')", /no attribute 'system'/],
    ["import os\nos.popen('id')", /no attribute 'popen'/],
    ["import os\nos.kill(os.getppid(), 9)", /no attribute 'kill'/],
    [
      "import asyncio\nasyncio.run(asyncio.sleep(0))",
      /^asyncio's event loop is not available in the policy sandbox$/,
    ],
    ["import asyncio\nasyncio.get_event_loop()", /^asyncio's event loop is not available/],
    ["open('/etc/passwd').read()", /No such file/],
    ["import socket\nsocket.create_connection(('127.0.0.1', 22), 1)", /unreachable/],
    ["import threading\nthreading.Thread(target=print).start()", /can't start new thread/],
  ])("%j", async (body, message) => {
    const outcome = await sandbox.evaluate(requestFor(policyWithBody(body)));
    expect(expectKind(outcome, "raised").error.message).toMatch(message);
  });
});

describe("with the Python seal undone, the realm holds", () => {
  const UNSEAL = [
    "import sys",
    "sys.meta_path[:] = [f for f in sys.meta_path if 'Deny' not in repr(f)]",
    "hc = sys.modules['_berth.capabilities']._bridge['call']",
  ].join("\n");
  const RUN_SCRIPT =
    "import ctypes\nf = ctypes.CDLL(None).emscripten_run_script\nf(b'globalThis.x = 1')";

  test.each([
    [
      "the host call's constructor",
      "return str(hc.constructor('return process.version')())",
      NO_CODEGEN,
    ],
    [
      "its constructor's constructor",
      "return str(hc.constructor.constructor('return process')())",
      NO_CODEGEN,
    ],
    ["its caller", "return str(hc.caller)", /TypeError/],
    ["its arguments", "return str(hc.arguments)", /TypeError/],
    ["an object for its text", "return str(hc(object()))", /unknown host call/],
    [
      "the proxy core",
      "import _pyodide_core as c\nreturn str(c.create_proxy(1).constructor.constructor('return process')())",
      NO_CODEGEN,
    ],
    ["import js", "import js\nreturn str(js)", /No module named 'js'/],
    [
      "run_js",
      "from pyodide.code import run_js\nreturn run_js('typeof process')",
      /No module named/,
    ],
    ["emscripten_run_script", RUN_SCRIPT, /Code generation from strings disallowed/],
    ["a wild pointer", "import ctypes\nreturn str(ctypes.string_at(0xfffffff0))", /out of bounds/],
    [
      "a side module",
      "import ctypes\nopen('/tmp/x.so', 'wb').write(b'\\0asm\\1\\0\\0\\0')\nreturn str(ctypes.CDLL('/tmp/x.so'))",
      /Could not load dynamic lib/,
    ],
    [
      "a fresh posix.system",
      "sys.modules.pop('posix')\nimport posix\nreturn str(posix.system('id'))",
      /^"-1"$/,
    ],
    [
      "a fresh posix.kill",
      "sys.modules.pop('posix')\nimport posix\nreturn str(posix.kill(posix.getppid(), 9))",
      /Operation not permitted/,
    ],
    [
      "subprocess",
      "import subprocess\nreturn str(subprocess.run(['id']))",
      /does not support processes/,
    ],
    ["the process list", "import os\nreturn str(os.listdir('/proc'))", /^"\['self'\]"$/],
    ["the environment", "import os\nreturn str(dict(os.environ))", /^"\{\}"$/],
    ["a host path", "return open('/etc/passwd').read()", /No such file/],
    ["a socket", "import socket\nsocket.create_connection(('127.0.0.1', 22), 1)", /unreachable/],
  ])("%s", async (_name, body, verdict) => {
    const outcome = await sandbox.evaluate(
      requestFor(policyWithBody(`${UNSEAL}\n${body}`), {
        tenant: "default_org/escape",
        limits: LIMITS_BY_KIND.precheck,
      }),
    );
    expect(["returned", "raised", "crashed"]).toContain(outcome.kind);
    expect(told(outcome)).toMatch(verdict);
    expect(told(outcome)).not.toMatch(HOST_VALUES);
  });

  function told(outcome: Awaited<ReturnType<Sandbox["evaluate"]>>): string {
    if (outcome.kind === "returned") return outcome.resultJson;
    if (outcome.kind === "raised") return outcome.error.message;
    return "message" in outcome ? outcome.message : outcome.kind;
  }
});

describe("with JavaScript handed to Python, only the realm itself is reached", () => {
  const DISPATCHER = [
    "def _connect(*bridge):",
    "    def dispatch(code):",
    "        space = {'__name__': 'attempt'}",
    "        try:",
    "            exec(code, space)",
    "            return 'value ' + str(space['r'])",
    "        except BaseException as error:",
    "            return 'raised %s: %s' % (type(error).__name__, error)",
    "    return dispatch",
    "_connect",
  ].join("\n");
  let realm: Realm;

  beforeAll(async () => {
    const source = {
      pyodideDir: pyodideDir(),
      xzScript: xzScript(),
      snapshot: null,
      codeCache: null,
    };
    const host = { callHost: () => "{}", leave: () => undefined };
    realm = await openRealm(source, host, false);
    realm.setCaps(256 << 20, 16 << 20);
    realm.connect(DISPATCHER);
  });

  test.each([
    ["process", "import js\nr = hasattr(js, 'process')", /^okvalue False$/],
    ["require", "import js\nr = hasattr(js, 'require')", /^okvalue False$/],
    [
      "fetch, sockets and workers",
      "import js\nr = [n for n in ('fetch', 'WebSocket', 'XMLHttpRequest', 'Worker', 'Buffer') if hasattr(js, n)]",
      /^okvalue \[\]$/,
    ],
    [
      "the function constructor",
      "import js\nr = js.Object.constructor.constructor('return typeof process')()",
      NO_CODEGEN,
    ],
    ["the async constructor", "import js\nr = js.load.constructor('return 1')", NO_CODEGEN],
    [
      "a generator's import()",
      "import js\nr = js.Object.getPrototypeOf(js.load).constructor('return import(\"fs\")')",
      NO_CODEGEN,
    ],
    ["eval", "import js\nr = js.eval('1')", NO_CODEGEN],
    ["run_js", "from pyodide.code import run_js\nr = run_js('typeof process')", NO_CODEGEN],
    ["a host file by read", "import js\nr = js.read('/etc/passwd')", JS_DENIED],
    ["a host file by readbuffer", "import js\nr = js.readbuffer('/etc/passwd')", JS_DENIED],
    [
      "pyodide's own files, after the start",
      "import js\nr = js.readbuffer('/pyodide.asm.wasm')",
      JS_DENIED,
    ],
    ["a script by load", "import js\nr = js.load('/pyodide.asm.js')", /okvalue|not available/],
    ["a command", "import js\nr = js.os.system('sh', ['-c', 'id'])", JS_DENIED],
    [
      "a host error's constructor",
      "import js\ntry: js.read('/etc/passwd')\nexcept Exception as e: r = e.constructor == js.Error",
      /^okvalue True$/,
    ],
    [
      "a host function's constructor",
      "import js\nr = [f.constructor == js.Function for f in (js.read, js.performance.now, js.readbuffer)]",
      /^okvalue \[True, True, True\]$/,
    ],
    [
      "the memory's buffer",
      "import pyodide_js as p\nr = p._module.HEAPU8.buffer.constructor.constructor('return 1')()",
      NO_CODEGEN,
    ],
    [
      "node's file system",
      "import pyodide_js as p\nr = p.mountNodeFS('/m', '/etc')",
      /only works in Node/,
    ],
    ["a stack-trace hook", "import js\njs.Error.prepareStackTrace = print\nr = 'set'", /okraised/],
    ["another Error", "import js\njs.Error = 1\nr = 'set'", /okraised/],
    [
      "another memory cap",
      "import js\njs.WebAssembly.Memory.prototype.grow = print\nr = 'set'",
      /okraised/,
    ],
    [
      "a package from the network",
      "import pyodide_js as p\nr = p._api.loadBinaryFile('/etc/passwd')",
      /okvalue|okraised/,
    ],
  ])("%s", (_name, header, verdict) => {
    const reply = realm.run({ header, sections: [], wallMs: 5_000, cpuMs: 5_000, graceMs: 1_000 });
    expect(reply).toMatch(verdict);
    expect(reply).not.toMatch(HOST_VALUES);
  });
});

describe("a process with a worker's flags", () => {
  const attempt = (action: string) =>
    `try { ${action}; out.push("reached") } catch (e) { out.push(e.code ?? e.name) }`;
  const written = join(tmpdir(), "berth-escaped");
  const run = (action: string) => {
    const config = {
      mode: "build",
      pyodideDir: pyodideDir(),
      xzScript: xzScript(),
      snapshotFile: "",
    } as const;
    const script = `const out = []; ${attempt(action)}; process.stdout.write(JSON.stringify(out))`;
    const args = [...workerFlags(config), "--eval", script];
    return JSON.parse(spawnSync(process.execPath, args, { env: {}, encoding: "utf8" }).stdout);
  };

  test.each([
    ["reads", "require('fs').readFileSync('/etc/passwd')", "ERR_ACCESS_DENIED"],
    ["writes", `require('fs').writeFileSync(${JSON.stringify(written)}, 'x')`, "ERR_ACCESS_DENIED"],
    ["spawns", "require('child_process').spawnSync('id')", "ERR_ACCESS_DENIED"],
    [
      "starts a worker thread",
      "new (require('worker_threads').Worker)('1', { eval: true })",
      "ERR_ACCESS_DENIED",
    ],
    [
      "starts a worker thread with flags of its own",
      "new (require('worker_threads').Worker)('1', { eval: true, execArgv: [] })",
      "ERR_ACCESS_DENIED",
    ],
    ["makes code of text", "new Function('return 1')", "EvalError"],
    [
      "loads a native addon",
      "process.dlopen({ exports: {} }, '/usr/lib/x.node')",
      "ERR_DLOPEN_DISABLED",
    ],
    ["sees another process", "require('fs').readFileSync('/proc/1/environ')", "ERR_ACCESS_DENIED"],
    ["opens the inspector", "require('inspector').open(0)", "ERR_ACCESS_DENIED"],
  ])("never %s", (_name, action, code) => {
    expect(run(action)).toEqual([code]);
  });

  test("connects and listens nowhere", () => {
    const listen = "require('net').createServer().listen(0, '127.0.0.1')";
    const connect = "require('net').connect(1, '127.0.0.1')";
    for (const action of [listen, connect]) {
      const script = `const say = (e) => { process.stdout.write(e.code); process.exit(0) };
        process.on('uncaughtException', say);
        const s = ${action}; s.on('error', say);
        for (const name of ['connect', 'listening']) s.on(name, () => say({ code: 'reached' }))`;
      const config = {
        mode: "build",
        pyodideDir: pyodideDir(),
        xzScript: xzScript(),
        snapshotFile: "",
      } as const;
      const args = [...workerFlags(config), "--eval", script];
      const { stdout } = spawnSync(process.execPath, args, { env: {}, encoding: "utf8" });
      expect(stdout).toBe("ERR_ACCESS_DENIED");
    }
  });

  test("has no network and an empty environment", () => {
    expect(run("if (Object.keys(process.env).length === 0) throw { code: 'EMPTY' }")).toEqual([
      "EMPTY",
    ]);
    expect(run("if (!process.permission.has('net')) throw { code: 'NO_NET' }")).toEqual(["NO_NET"]);
  });
});
