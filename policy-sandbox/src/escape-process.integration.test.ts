// The escape suite's third layer: what JavaScript could do that has got out of the realm into the worker's process.
// Each attempt runs in a process that is started like a worker, with another program.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pyodideDir, workerFlags, xzScript } from "./host/spawn-worker.ts";
import type { Sandbox } from "./index.ts";
import { openSandbox, processExists } from "./testing/sandbox-fixture.ts";
import { STATE_DIR } from "./testing/state-dir.ts";

let sandbox: Sandbox;
let snapshotFile = "";

beforeAll(async () => {
  sandbox = openSandbox();
  await sandbox.ready();
  const [name] = (await readdir(STATE_DIR)).filter((file) => file.endsWith(".bin"));
  snapshotFile = join(STATE_DIR, String(name));
});
afterAll(() => sandbox.close());

/** Runs a script that says what came of its attempt on stdout. */
function outcomeOf(script: string): string {
  const config = {
    mode: "serve",
    pyodideDir: pyodideDir(),
    xzScript: xzScript(),
    snapshotFile,
  } as const;
  const args = [...workerFlags(config), "--eval", script];
  const options = { env: {}, cwd: "/", encoding: "utf8", timeout: 20_000 } as const;
  return spawnSync(process.execPath, args, options).stdout;
}

/** `action` is a statement. */
function attempt(action: string): string {
  return outcomeOf(
    `let out = "reached"; try { ${action} } catch (e) { out = e.code ?? e.name }; process.stdout.write(out)`,
  );
}

/** `action` is an expression with an event emitter. */
function attemptLater(action: string, reached: readonly string[]): string {
  return outcomeOf(
    `const say = (e) => { process.stdout.write(e.code ?? e.cause?.code ?? require("util").inspect(e)); process.exit(0) };
     process.on('uncaughtException', say);
     const s = ${action};
     s.on('error', say);
     for (const name of ${JSON.stringify(reached)}) s.on(name, () => say({ code: 'reached' }))`,
  );
}

const written = JSON.stringify(join(tmpdir(), "berth-escaped"));
const UNUSED_PID = 2 ** 22 - 1;

test.each([
  ["reads", "require('fs').readFileSync('/etc/passwd')"],
  ["writes", `require('fs').writeFileSync(${written}, 'x')`],
  ["spawns", "require('child_process').spawnSync('id')"],
  ["becomes another program", "process.execve('/usr/bin/id', ['id'])"],
  ["forks", "require('cluster').setupPrimary({ exec: '/x.js' }); require('cluster').fork()"],
  ["starts a worker thread", "new (require('worker_threads').Worker)('1', { eval: true })"],
  [
    "starts a worker thread with flags of its own",
    "new (require('worker_threads').Worker)('1', { eval: true, execArgv: [] })",
  ],
  [
    "starts a worker thread that may do anything",
    "new (require('worker_threads').Worker)('1', { eval: true, execArgv: ['--no-permission'], env: {} })",
  ],
  [
    "reaches the file system by WASI",
    "new (require('wasi').WASI)({ version: 'preview1', preopens: { '/': '/' } })",
  ],
  ["opens the inspector", "require('inspector').open(0)"],
  ["reaches Node's inner bindings", "process.binding('process_wrap')"],
  ["writes a report", `process.report.writeReport(${written})`],
  ["writes a picture of its memory", `require('v8').writeHeapSnapshot(${written})`],
])("never %s", (_name, action) => {
  expect(attempt(action)).toBe("ERR_ACCESS_DENIED");
});

test("makes no code of text and loads no native addon", () => {
  expect(attempt("new Function('return 1')")).toBe("EvalError");
  expect(attempt("process.dlopen({ exports: {} }, '/usr/lib/x.node')")).toBe("ERR_DLOPEN_DISABLED");
});

describe("signals", () => {
  test.each([
    ["reach its parent", "process.kill(process.ppid, 0)"],
    ["reach its parent by the inner function", "process._kill(process.ppid, 0)"],
    ["open another process's debugger", `process._debugProcess(${UNUSED_PID})`],
    [
      "come back when they are asked for anew",
      "delete process.kill; process.kill = process._kill; process.kill(process.ppid, 0)",
    ],
    ["come back by a fresh module", "require('process').kill(process.ppid, 0)"],
  ])("never %s", (_name, action) => {
    expect(attempt(action)).toBe("ERR_ACCESS_DENIED");
  });

  test("to a process of the same user do not end it", async () => {
    const victim = spawn(process.execPath, ["--eval", "setInterval(() => {}, 1000)"], {
      stdio: "ignore",
    });
    try {
      await once(victim, "spawn");
      expect(attempt(`process.kill(${victim.pid}, 'SIGKILL')`)).toBe("ERR_ACCESS_DENIED");
      expect(victim.exitCode ?? victim.signalCode).toBeNull();
      expect(processExists(victim.pid ?? 0)).toBe(true);
    } finally {
      victim.kill("SIGKILL");
    }
  });

  test("are not the only way to be in the way: priorities of others stay as they are, too", () => {
    expect(attempt("require('os').setPriority(process.ppid, 0)")).toBe("ERR_ACCESS_DENIED");
  });
});

describe("sockets", () => {
  test.each([
    ["TCP", "require('net').connect(1, '127.0.0.1')", ["connect"]],
    ["TCP, listening", "require('net').createServer().listen(0, '127.0.0.1')", ["listening"]],
    ["a socket file", "require('net').connect('/tmp/berth.sock')", ["connect"]],
    [
      "a socket file, listening",
      "require('net').createServer().listen('/tmp/b.sock')",
      ["listening"],
    ],
    ["TLS", "require('tls').connect(1, '127.0.0.1')", ["connect", "secureConnect"]],
    ["HTTP", "require('http').get('http://127.0.0.1:1/')", ["response"]],
    ["HTTP/2", "require('http2').connect('http://127.0.0.1:1/')", ["connect"]],
    [
      "UDP",
      "(() => { const s = require('dgram').createSocket('udp4'); s.send('x', 9, '127.0.0.1', (e) => s.emit(e ? 'error' : 'connect', e)); return s })()",
      ["connect"],
    ],
    [
      "UDP, listening",
      "(() => { const s = require('dgram').createSocket('udp4'); s.bind(0); return s })()",
      ["listening"],
    ],
    [
      "names",
      "(() => { const s = new (require('events'))(); require('dns').lookup('localhost', (e) => s.emit(e ? 'error' : 'connect', e)); return s })()",
      ["connect"],
    ],
    [
      "fetch",
      "(() => { const s = new (require('events'))(); fetch('http://127.0.0.1:65535/').then(() => s.emit('connect'), (e) => s.emit('error', e)); return s })()",
      ["connect"],
    ],
  ] as const)("there is no %s", (_name, action, reached) => {
    expect(attemptLater(action, reached)).toBe("ERR_ACCESS_DENIED");
  });

  test("the permission is not there to be had", () => {
    expect(outcomeOf("process.stdout.write(String(process.permission.has('net')))")).toBe("false");
  });
});

test("the environment is empty", () => {
  expect(outcomeOf("process.stdout.write(JSON.stringify(process.env))")).toBe("{}");
});

describe("what is another tenant's", () => {
  test.each([
    ["memory", (pid: number) => `/proc/${pid}/mem`],
    ["environment", (pid: number) => `/proc/${pid}/environ`],
    ["command line", (pid: number) => `/proc/${pid}/cmdline`],
    ["channel to the host", (pid: number) => `/proc/${pid}/fd/3`],
  ])("cannot be read: a worker's %s", (_name, pathOf) => {
    const pid = sandbox.stats().workers[0]?.pid ?? 0;
    expect(processExists(pid)).toBe(true);
    const path = JSON.stringify(pathOf(pid));
    expect(
      attempt(`require('fs').readSync(require('fs').openSync(${path}), Buffer.alloc(1))`),
    ).toBe("ERR_ACCESS_DENIED");
    expect(attempt(`require('fs').openSync(${path}, 'r+')`)).toBe("ERR_ACCESS_DENIED");
  });

  test.each(["/proc", "/proc/self/fd", "/dev/shm", "/tmp", "/", STATE_DIR])(
    "cannot be found: a list of %s",
    (folder) => {
      expect(attempt(`require('fs').readdirSync(${JSON.stringify(folder)})`)).toBe(
        "ERR_ACCESS_DENIED",
      );
    },
  );

  test.each(["/dev/shm/berth", "/tmp/berth"])("cannot be left for others: in %s", (path) => {
    expect(attempt(`require('fs').writeFileSync(${JSON.stringify(path)}, 'x')`)).toBe(
      "ERR_ACCESS_DENIED",
    );
  });

  test("of the state directory only the memory image is readable, and not writable", () => {
    const read = (path: string) => attempt(`require('fs').readFileSync(${JSON.stringify(path)})`);
    expect(read(snapshotFile)).toBe("reached");
    for (const path of [`${snapshotFile}.other`, `${snapshotFile}/x`, join(STATE_DIR, "other")]) {
      expect(read(path)).toBe("ERR_ACCESS_DENIED");
    }
    expect(attempt(`require('fs').openSync(${JSON.stringify(snapshotFile)}, 'r+')`)).toBe(
      "ERR_ACCESS_DENIED",
    );
  });
});
