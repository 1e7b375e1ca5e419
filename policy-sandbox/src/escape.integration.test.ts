// The escape suite. Attempts come from the prototypes and public write-ups (CVE-2025-68668 and its class);
// each asserts what the attempt meets. Three layers, each tested without the ones before it: the Python seal,
// the sealed realm (also escape-realm), the process without permissions (escape-process).
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LIMITS_BY_KIND, type Sandbox } from "./index.ts";
import { HOST_VALUES, NO_CODEGEN } from "./testing/escape-signs.ts";
import { expectKind, openSandbox, policyWithBody, requestFor } from "./testing/sandbox-fixture.ts";
import { STATE_DIR } from "./testing/state-dir.ts";

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
    [
      "UDP",
      "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
      /unreachable/,
    ],
    [
      "a socket that listens",
      "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.listen(1)",
      /Not supported/,
    ],
    ["a pair of sockets", "import socket\nsocket.socketpair()", /Not supported/],
    ["a socket file", "import socket\nsocket.socket(socket.AF_UNIX)", /no attribute 'AF_UNIX'/],
    [
      "the browser's way to the network",
      "from pyodide.http import open_url\nopen_url('http://127.0.0.1:65535/')",
      /'XMLHttpRequest' is not defined/,
    ],
    [
      "a signal to every process",
      "sys.modules.pop('posix')\nimport posix\nreturn str(posix.kill(-1, 9))",
      /Operation not permitted/,
    ],
    [
      "a signal to the process group",
      "sys.modules.pop('posix')\nimport posix\nreturn str(posix.killpg(0, 9))",
      /Operation not permitted/,
    ],
    [
      "a deadly signal to itself",
      "import signal\nsignal.raise_signal(signal.SIGKILL)",
      /^the interpreter failed: Program terminated with exit\(137\)$/,
    ],
    [
      "a fork",
      "sys.modules.pop('posix')\nimport posix\nreturn str(posix.fork())",
      /Function not implemented/,
    ],
    [
      "another program in its place",
      "sys.modules.pop('posix')\nimport posix\nposix.execv('/bin/sh', ['sh'])",
      /Exec format error/,
    ],
    [
      "the ids of the host's processes",
      "sys.modules.pop('posix')\nimport posix\nreturn str([posix.getpid(), posix.getppid()])",
      /^"\[42, 1\]"$/,
    ],
    ["its process's environment", "return open('/proc/self/environ').read()", /No such file/],
    [
      "the environment of C",
      "import ctypes\nf = ctypes.CDLL(None).getenv\nf.restype = ctypes.c_char_p\nreturn str([f(b'PATH'), f(b'HOME'), f(b'USER')])",
      /^"\[None, None, None\]"$/,
    ],
    ["the channel from the host", "import os\nreturn str(os.read(3, 1))", /Bad file descriptor/],
    ["the channel to the host", "import os\nreturn str(os.write(4, b'x'))", /Bad file descriptor/],
    [
      "the sandbox's state directory",
      `import os\nreturn str(os.listdir(${JSON.stringify(STATE_DIR)}))`,
      /No such file/,
    ],
    [
      "the host's shared memory",
      "import os\nreturn str(sorted(os.listdir('/dev')))",
      /^"\['null', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'tty', 'tty1', 'urandom'\]"$/,
    ],
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

  test("what another tenant left in files, shared memory, environment and modules", async () => {
    const leave = [
      UNSEAL,
      "import os, tempfile, json",
      "places = ['/tmp', '/dev/shm', '/dev/shm/tmp', '/home', tempfile.gettempdir()]",
      "for place in places:",
      "    try: open(place + '/left', 'w').write('of a')",
      "    except OSError: pass",
      "os.environ['LEFT'] = 'of a'",
      "json.left = sys.left = 'of a'",
    ];
    const look = [
      "found = [p + '/' + f for p in places for f in os.listdir(p) if f == 'left']",
      "return [found, os.environ.get('LEFT'), getattr(json, 'left', None), getattr(sys, 'left', None)]",
    ];
    const setUp = leave.slice(0, 3);
    const as = (tenant: string, lines: readonly string[]) =>
      sandbox.evaluate(requestFor(policyWithBody(lines.join("\n")), { tenant }));
    const own = expectKind(await as("org/leaving", [...leave, ...look]), "returned");
    expect(JSON.parse(own.resultJson)[0]).toContain("/tmp/left");
    const other = expectKind(await as("org/looking", [...setUp, ...look]), "returned");
    expect(JSON.parse(other.resultJson)).toEqual([[], null, null, null]);
    const again = expectKind(await as("org/leaving", [...setUp, ...look]), "returned");
    expect(again.resultJson).toContain("of a");
  });

  function told(outcome: Awaited<ReturnType<Sandbox["evaluate"]>>): string {
    if (outcome.kind === "returned") return outcome.resultJson;
    if (outcome.kind === "raised") return outcome.error.message;
    return "message" in outcome ? outcome.message : outcome.kind;
  }
});
