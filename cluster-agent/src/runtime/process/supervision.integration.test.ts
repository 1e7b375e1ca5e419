import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { until } from "../../testing/fixtures.ts";
import {
  ECHO_COMMAND,
  instanceWhen,
  isLiving,
  LOCAL_BLOCK,
  LocalProcesses,
  localInstance,
  observedOf,
  pidOf,
  QUICK_RULES,
  script,
} from "../../testing/local-processes.ts";
import type { InstanceSpec } from "../runtime.ts";
import type { ProcessRuntime } from "./process-runtime.ts";
import type { ProcessRuntimeOptions } from "./process-runtime-options.ts";

const never = new AbortController().signal;
const SLOW_RESTART = { firstMs: 600_000, capMs: 600_000, soundAfterMs: 60_000 };
const FOREVER = "setInterval(() => {}, 1e6);";

let local: LocalProcesses;
let runtime: ProcessRuntime;

beforeEach(async () => {
  local = new LocalProcesses();
  runtime = await local.open();
});

afterEach(async () => {
  await runtime.stop();
  local.dispose();
});

async function reopen(more: Partial<ProcessRuntimeOptions> = {}): Promise<void> {
  await runtime.stop();
  runtime = await local.open(more);
}

async function apply(spec: InstanceSpec): Promise<InstanceSpec> {
  expect(await runtime.applyBlock(LOCAL_BLOCK, never)).toEqual({ kind: "applied" });
  expect(await runtime.applyInstance(spec, never)).toEqual({ kind: "applied" });
  return spec;
}

/** Waits until a program has written a line to its log. */
async function logged(instanceId: string, text: string): Promise<void> {
  await until(`the log says ${text}`, () => local.file(instanceId, "output.log").includes(text));
}

describe("ending a program", () => {
  it("kills one that ignores SIGTERM after the grace", async () => {
    const code = `process.on("SIGTERM", () => console.log("no")); ${FOREVER} console.log("up")`;
    const spec = await apply(localInstance("in-a", script(code)));
    await logged("in-a", "up");
    const pid = pidOf(await instanceWhen(runtime, "in-a", ({ phase }) => phase === "running"));
    const removal = runtime.removeInstance(spec, never);
    await logged("in-a", "no");
    expect(await observedOf(runtime, "in-a")).toMatchObject({ phase: "terminating" });
    await removal;
    expect(isLiving(pid)).toBe(false);
  });

  it("resolves a replacement when nothing of the former program runs", async () => {
    const code = `process.on("SIGTERM", () => {}); ${FOREVER} console.log("up")`;
    const spec = await apply(localInstance("in-a", script(code)));
    await logged("in-a", "up");
    const pid = pidOf(await instanceWhen(runtime, "in-a", ({ phase }) => phase === "running"));
    const replaced = runtime.applyInstance({ ...spec, command: script(FOREVER) }, never);
    const again = runtime.applyInstance({ ...spec, command: script(FOREVER) }, never);
    await Promise.race([replaced, again]);
    expect(isLiving(pid)).toBe(false);
    await Promise.all([replaced, again]);
  });

  it("takes back a replacement that was not begun yet", async () => {
    const spec = await apply(localInstance("in-a", script(FOREVER)));
    await instanceWhen(runtime, "in-a", ({ phase }) => phase === "running");
    const other = runtime.applyInstance({ ...spec, command: script("1") }, never);
    await runtime.applyInstance(spec, never);
    await other;
    await instanceWhen(runtime, "in-a", ({ phase }) => phase === "running");
    expect(local.pids("blk-a/in-a")).toHaveLength(1);
  });

  it("ends children in sessions of their own, also one without our environment", async () => {
    const child = `{ detached: true, stdio: "ignore" }`;
    const code = `
      const { spawn } = require("node:child_process");
      const own = spawn(process.execPath, ["-e", ${JSON.stringify(FOREVER)}], ${child});
      const bare = spawn(process.execPath, ["-e", ${JSON.stringify(FOREVER)}], { ...${child}, env: {} });
      console.log("children", own.pid, bare.pid, "end"); ${FOREVER}`;
    const spec = await apply(localInstance("in-a", script(code)));
    await logged("in-a", "end");
    const pids = local.file("in-a", "output.log").match(/\d+/g)?.map(Number) ?? [];
    expect(pids.map(isLiving)).toEqual([true, true]);
    await runtime.removeInstance(spec, never);
    expect(pids.map(isLiving)).toEqual([false, false]);
  });

  it("ends a program that has thrown its environment away", async () => {
    const spec = await apply(localInstance("in-a", ["env", "-i", ...script(FOREVER)]));
    const { podName } = await instanceWhen(runtime, "in-a", ({ phase }) => phase === "running");
    await reopen();
    const instance = await observedOf(runtime, "in-a");
    expect(instance).toMatchObject({ podName, restarts: 0 });
    await runtime.removeInstance(spec, never);
    expect(isLiving(Number(podName?.slice(4)))).toBe(false);
  });

  it("ends what an ended program left behind before it starts it again", async () => {
    const code = `
      const { spawn } = require("node:child_process");
      const left = spawn(process.execPath, ["-e", ${JSON.stringify(FOREVER)}], { detached: true, stdio: "ignore" });
      console.log("left", left.pid, "end"); left.unref(); setTimeout(() => process.exit(3), 50)`;
    await apply(localInstance("in-a", script(code)));
    await instanceWhen(runtime, "in-a", ({ restarts }) => restarts >= 2);
    const [first] = local.file("in-a", "output.log").match(/\d+/) ?? [];
    expect(isLiving(Number(first))).toBe(false);
  });

  it("ends what an ended program left behind at once, however long the delay", async () => {
    await reopen({ rules: { ...QUICK_RULES, restart: SLOW_RESTART } });
    const code = `
      const { spawn } = require("node:child_process");
      spawn("sleep", ["1000"], { detached: true, stdio: "ignore" }).unref();
      console.log("left"); setTimeout(() => process.exit(3), 50)`;
    await apply(localInstance("in-a", script(code)));
    await logged("in-a", "left");
    await instanceWhen(runtime, "in-a", ({ phase }) => phase === "restarting");
    await until("nothing is left", () => local.pids("blk-a/in-a").length === 0);
  });

  it("never signals a process that got the number of an ended one", async () => {
    const spec = await apply(localInstance("in-a", script(FOREVER)));
    const pid = pidOf(await instanceWhen(runtime, "in-a", ({ phase }) => phase === "running"));
    await runtime.stop();
    process.kill(pid, "SIGKILL");
    await until("it has ended", () => !isLiving(pid));
    const stranger = spawn(process.execPath, ["-e", FOREVER], { detached: true, stdio: "ignore" });
    const strangerPid = stranger.pid ?? 0;
    try {
      const state = JSON.parse(local.file("in-a", "state.json"));
      const known = { ...state.process, pid: strangerPid };
      const file = path.join(local.dataDir, "blocks/blk-a/in-a/state.json");
      writeFileSync(file, JSON.stringify({ ...state, process: known }));
      runtime = await local.open();
      const again = await instanceWhen(runtime, "in-a", ({ phase }) => phase === "running");
      expect(again.restarts).toBe(1);
      expect(pidOf(again)).not.toBe(strangerPid);
      await runtime.removeInstance(spec, never);
      expect(isLiving(strangerPid)).toBe(true);
    } finally {
      stranger.kill("SIGKILL");
    }
  });
});

describe("starting a program", () => {
  it("says how one ended that ends at once, and starts it again and again", async () => {
    await apply(localInstance("in-a", script("process.exit(3)")));
    const instance = await instanceWhen(
      runtime,
      "in-a",
      ({ phase, restarts }) => phase === "restarting" && restarts > 2,
    );
    expect(instance.message).toMatch(/^the program ended with exit code 3; it is started again/);
    expect(instance).toMatchObject({ isReady: false, endpoints: {} });
    expect(instance).not.toHaveProperty("podName");
  });

  it("says why one cannot be started", async () => {
    await apply(localInstance("in-a", ["no-such-program-of-berth"]));
    const instance = await instanceWhen(runtime, "in-a", ({ phase }) => phase === "restarting");
    expect(instance.message).toMatch(/cannot be started: .*no-such-program-of-berth.*ENOENT/);
  });

  it("waits longer after each end", async () => {
    const restart = { firstMs: 300, capMs: 60_000, soundAfterMs: 60_000, random: () => 1 };
    await reopen({ rules: { ...QUICK_RULES, restart } });
    await apply(localInstance("in-a", script("console.log(Date.now()); process.exit(1)")));
    await instanceWhen(runtime, "in-a", ({ restarts }) => restarts === 3);
    await until("four lines", () => local.file("in-a", "output.log").split("\n").length > 4);
    const times = local.file("in-a", "output.log").split("\n").slice(0, 4).map(Number);
    const [first = 0, second = 0, third = 0, fourth = 0] = times;
    expect(second - first).toBeGreaterThanOrEqual(250);
    expect(third - second).toBeGreaterThanOrEqual(550);
    expect(fourth - third).toBeGreaterThanOrEqual(1_150);
  });

  it("starts one again that ended while no agent ran, and counts it", async () => {
    await apply(localInstance("in-a", ECHO_COMMAND));
    const pid = pidOf(await instanceWhen(runtime, "in-a", ({ isReady }) => isReady));
    await runtime.stop();
    process.kill(pid, "SIGKILL");
    await until("it has ended", () => !isLiving(pid));
    runtime = await local.open();
    const again = await instanceWhen(runtime, "in-a", ({ isReady }) => isReady);
    expect(again.restarts).toBe(1);
  });

  it("notices the end of one that an earlier agent started, and waits before it starts it again", async () => {
    await apply(localInstance("in-a", ECHO_COMMAND));
    const pid = pidOf(await instanceWhen(runtime, "in-a", ({ isReady }) => isReady));
    await reopen({ rules: { ...QUICK_RULES, restart: SLOW_RESTART } });
    const found = await instanceWhen(runtime, "in-a", ({ isReady }) => isReady);
    expect(found.podName).toBe(`pid ${pid}`);
    process.kill(pid, "SIGKILL");
    const instance = await instanceWhen(runtime, "in-a", ({ phase }) => phase === "restarting");
    expect(instance.message).toBe("the program ended; it is started again after a delay");
    await reopen();
    await instanceWhen(runtime, "in-a", ({ restarts }) => restarts === 1);
  });

  it("gives it a session of its own, no input, no other descriptor, and the environment of a pod", async () => {
    const code = `
      const fs = require("node:fs");
      const links = fs.readdirSync("/proc/self/fd").map((fd) => {
        try { return fs.readlinkSync("/proc/self/fd/" + fd) } catch { return "" }
      });
      const stat = fs.readFileSync("/proc/self/stat", "latin1").split(") ")[1].split(" ");
      console.log(JSON.stringify({ env: process.env, links, isLeader: Number(stat[3]) === process.pid }), "end");
      ${FOREVER}`;
    await apply(
      localInstance("in-a", script(code), {
        env: { INSTANCE_ID: "mine", GREETING: "hello" },
        initDataJson: "{}",
        devices: [{ uuid: "GPU-1", slot: 0, memoryMiB: 1 }],
      }),
    );
    await logged("in-a", "end");
    const told = JSON.parse(local.file("in-a", "output.log").split(" end")[0] ?? "");
    expect(told.env).toMatchObject({
      ...{ INSTANCE_ID: "in-a", BLOCK_ID: "blk-a", CLUSTER_ID: "cl-1", NODE_ID: "node-1" },
      ...{ NVIDIA_VISIBLE_DEVICES: "GPU-1", CUDA_VISIBLE_DEVICES: "GPU-1", GREETING: "hello" },
      CUSTOM_INIT_DATA: "{}",
    });
    expect(Object.keys(told.env)).not.toContain("VITEST");
    expect(told.isLeader).toBe(true);
    const files = told.links.filter((link: string) => /^[/]|^socket/.test(link));
    const log = path.join(local.dataDir, "blocks/blk-a/in-a/output.log");
    expect([...new Set(files)].filter((file) => !String(file).includes("/proc/"))).toEqual(
      expect.arrayContaining(["/dev/null", log]),
    );
    expect(files.filter((file: string) => /\.db$|socket:/.test(file))).toEqual([]);
  });
});

describe("the health of a program", () => {
  it("follows what it answers", async () => {
    await apply(localInstance("in-a", ECHO_COMMAND));
    const { endpoints } = await instanceWhen(runtime, "in-a", ({ isReady }) => isReady);
    const headers = { "content-type": "application/json" };
    const manage = (body: unknown) =>
      fetch(`${endpoints.control}/mgmt`, { method: "POST", headers, body: JSON.stringify(body) });
    await manage({ mgmt_action: "fail_health", mgmt_data: { for_ms: 600_000 } });
    const failing = await instanceWhen(runtime, "in-a", ({ isReady }) => !isReady);
    expect(failing).toMatchObject({
      phase: "running",
      message: "GET /health answered 503, not 200",
    });
    await manage({ mgmt_action: "reset" });
    const instance = await instanceWhen(runtime, "in-a", ({ isReady }) => isReady);
    expect(instance).not.toHaveProperty("message");
    const metrics = await (await fetch(`${endpoints.metrics}/metrics`)).text();
    expect(metrics).toContain("end_to_end_count_total 0");
  });

  it("is missing when it listens nowhere, and says what it should do", async () => {
    await apply(localInstance("in-a", script(FOREVER)));
    const instance = await instanceWhen(
      runtime,
      "in-a",
      ({ message }) => message?.startsWith("nothing listens") === true,
    );
    expect(instance).toMatchObject({ phase: "running", isReady: false, restarts: 0 });
    expect(instance.message).toMatch(
      /must answer GET \/health on 127.0.0.1:\d+ \(BERTH_CONTROL_PORT\)/,
    );
  });

  it("is not that of a stranger on its port: it gets another port", async () => {
    const answers = createServer((_request, response) => response.end("{}"));
    // Listens on its port only when that is not the first one: time for a stranger to take that.
    const code = `
      const port = process.env.BERTH_CONTROL_PORT;
      const fs = require("node:fs");
      const mark = process.env.MARK;
      if (fs.existsSync(mark)) import(${JSON.stringify(ECHO_COMMAND[1])});
      else { fs.writeFileSync(mark, ""); console.log("port", port, "end"); ${FOREVER} }`;
    const env = { MARK: path.join(local.dataDir, "mark") };
    await apply(localInstance("in-a", script(code), { env }));
    await logged("in-a", "end");
    const taken = Number(/port (\d+)/.exec(local.file("in-a", "output.log"))?.[1]);
    try {
      answers.listen(taken, "127.0.0.1");
      await once(answers, "listening");
      const instance = await instanceWhen(runtime, "in-a", ({ isReady }) => isReady);
      expect(instance.endpoints.control).not.toContain(`:${taken}`);
      expect(instance.restarts).toBe(1);
    } finally {
      answers.close();
    }
  });

  it("keeps its ports over restarts, until a stranger has one", async () => {
    const restart = { ...QUICK_RULES.restart, firstMs: 400, random: () => 1 };
    await reopen({ rules: { ...QUICK_RULES, restart } });
    await apply(localInstance("in-a", ECHO_COMMAND));
    const first = await instanceWhen(runtime, "in-a", ({ isReady }) => isReady);
    process.kill(pidOf(first), "SIGKILL");
    const second = await instanceWhen(
      runtime,
      "in-a",
      ({ isReady, restarts }) => isReady && restarts === 1,
    );
    expect(second.endpoints).toEqual(first.endpoints);
    process.kill(pidOf(second), "SIGKILL");
    await instanceWhen(runtime, "in-a", ({ phase }) => phase === "restarting");
    const stranger = createServer();
    try {
      stranger.listen(Number(new URL(first.endpoints.metrics ?? "").port), "127.0.0.1");
      await once(stranger, "listening");
      const third = await instanceWhen(
        runtime,
        "in-a",
        ({ isReady, restarts }) => isReady && restarts === 2,
      );
      expect(third.endpoints.metrics).not.toBe(first.endpoints.metrics);
    } finally {
      stranger.close();
    }
  });
});

describe("the log of a program", () => {
  it("is bounded however much it writes", async () => {
    const log = { maxBytes: 100_000, kept: 3 };
    await reopen({ rules: { ...QUICK_RULES, watchIntervalMs: 20, log } });
    // 6 MB in pieces, and then nothing more.
    const code = `
      let pieces = 60;
      const timer = setInterval(() => {
        for (let n = 0; n < 100; n += 1) fs.writeSync(1, String(pieces).padStart(999) + "\\n");
        if ((pieces -= 1) === 0) clearInterval(timer);
      }, 20); ${FOREVER}`;
    await apply(localInstance("in-a", script(code)));
    const folder = path.join(local.dataDir, "blocks/blk-a/in-a");
    const logs = () => readdirSync(folder).filter((name) => name.startsWith("output.log"));
    await until("all files are there", () => logs().length === 4);
    const first = local.file("in-a", "output.log.3");
    await until("the oldest is dropped", () => local.file("in-a", "output.log.3") !== first);
    const current = path.join(folder, "output.log");
    await until("the log is cut", () => statSync(current).size <= log.maxBytes);
    await runtime.stop();
    expect(logs().sort()).toEqual(["output.log", "output.log.1", "output.log.2", "output.log.3"]);
    for (const name of ["output.log.1", "output.log.2", "output.log.3"]) {
      expect(statSync(path.join(folder, name)).size).toBeLessThanOrEqual(log.maxBytes);
    }
  });
});

describe("the data directory", () => {
  it("is one agent's at a time", async () => {
    await expect(local.open()).rejects.toMatchObject({
      reason: "CONFLICT",
      message: expect.stringContaining(local.dataDir),
    });
    await reopen();
    expect((await runtime.observe(never)).instances).toEqual([]);
  });

  it("is refused with the name of the file when one is damaged, and nothing is ended", async () => {
    const spec = await apply(localInstance("in-a", script(FOREVER)));
    const pid = pidOf(await instanceWhen(runtime, "in-a", ({ phase }) => phase === "running"));
    await runtime.stop();
    const file = path.join(local.dataDir, "blocks/blk-a/in-a/instance.json");
    const whole = local.file("in-a", "instance.json");
    for (const text of ["", "{}", whole.replace('"in-a"', '"in-b"')]) {
      writeFileSync(file, text);
      await expect(local.open()).rejects.toMatchObject({
        reason: "PRECONDITION_FAILED",
        message: expect.stringContaining(file),
      });
    }
    expect(isLiving(pid)).toBe(true);
    writeFileSync(file, whole);
    runtime = await local.open();
    expect(await observedOf(runtime, "in-a")).toMatchObject({ podName: `pid ${pid}` });
    await runtime.removeInstance(spec, never);
  });

  it("forgets what a crash left half written", async () => {
    await runtime.stop();
    mkdirSync(path.join(local.dataDir, "blocks/blk-a/in-a"), { recursive: true });
    writeFileSync(path.join(local.dataDir, "blocks/blk-a/in-a/instance.json.new"), "{");
    runtime = await local.open();
    expect(await runtime.observe(never)).toEqual({ blockIds: [], instances: [] });
    expect(readdirSync(path.join(local.dataDir, "blocks"))).toEqual([]);
  });

  it("is what shall run: what no file knows is ended, and nothing is told before", async () => {
    await apply(localInstance("in-a", script(`process.on("SIGTERM", () => {}); ${FOREVER}`)));
    const pid = pidOf(await instanceWhen(runtime, "in-a", ({ phase }) => phase === "running"));
    await runtime.stop();
    rmSync(path.join(local.dataDir, "blocks/blk-a/in-a"), { recursive: true });
    runtime = await local.open();
    await expect(runtime.observe(never)).rejects.toMatchObject({ reason: "UNAVAILABLE" });
    await until("it has ended", () => !isLiving(pid));
    const told = () => runtime.observe(never).then(({ instances }) => instances.length === 0);
    await until("it is told", () => told().catch(() => false));
  });

  it("is left empty by the end of all", async () => {
    await apply(localInstance("in-a", script(FOREVER)));
    await apply(localInstance("in-b", script(FOREVER)));
    await runtime.endAll(never);
    expect(local.pids()).toEqual([]);
    expect(await runtime.observe(never)).toEqual({ blockIds: [], instances: [] });
    expect(readdirSync(path.join(local.dataDir, "blocks"))).toEqual([]);
  });
});

describe("refusals", () => {
  it.each<[string, Partial<InstanceSpec>, string, RegExp]>([
    ["an id that leaves the folder", { instanceId: "../x" }, "INVALID_ARGUMENT", /^instanceId: /],
    ["an id that is too long", { instanceId: "a".repeat(64) }, "INVALID_ARGUMENT", /^instanceId: /],
    ["an empty program", { command: [""] }, "PRECONDITION_FAILED", /command\[0\]/],
    ["no program", { command: [] }, "PRECONDITION_FAILED", /containerRegistryInfo.command/],
    ["a NUL", { env: { A: "a\0b" } }, "INVALID_ARGUMENT", /^env.A: .*NUL/],
    ["a long value", { env: { A: "x".repeat(131_072) } }, "INVALID_ARGUMENT", /^env.A: .*131072/],
    ["no number", { cpuMillis: Number.NaN }, "INVALID_ARGUMENT", /cpuMillis/],
    ["another machine's node", { nodeId: "node-2" }, "PRECONDITION_FAILED", /^node-2 is far$/],
  ])("name %s", async (_what, more, reason, message) => {
    await reopen({ refuseNode: (id) => (id === "node-1" ? undefined : `${id} is far`) });
    await runtime.applyBlock(LOCAL_BLOCK, never);
    const outcome = await runtime.applyInstance(
      localInstance("in-a", script(FOREVER), more),
      never,
    );
    expect(outcome).toMatchObject({ kind: "refused", reason });
    expect(outcome).toHaveProperty("message", expect.stringMatching(message));
    expect((await runtime.observe(never)).instances).toEqual([]);
  });

  it("say when there are as many instances as there may be", async () => {
    await reopen({ maxInstances: 1 });
    const spec = await apply(localInstance("in-a", script(FOREVER)));
    const second = await runtime.applyInstance(localInstance("in-b", script(FOREVER)), never);
    expect(second).toMatchObject({ kind: "refused", reason: "QUOTA_EXCEEDED" });
    expect(await runtime.applyInstance(spec, never)).toEqual({ kind: "applied" });
  });
});
