// The escape suite's second layer from within: JavaScript of the sealed realm is handed to Python, as if every seal
// of Python had been undone. Only the realm itself is reached.
import { beforeAll, describe, expect, test } from "vitest";
import { pyodideDir, xzScript } from "./host/spawn-worker.ts";
import { HOST_VALUES, JS_DENIED, NO_CODEGEN } from "./testing/escape-signs.ts";
import { openRealm, type Realm } from "./worker/realm.ts";

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
