import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  ECHO_COMMAND,
  instanceWhen,
  LOCAL_BLOCK,
  LocalProcesses,
  localInstance,
  script,
} from "../../testing/local-processes.ts";
import type { RuntimeFault, RuntimeProcessOptions } from "../../testing/runtime-process.ts";
import type { InstanceSpec } from "../runtime.ts";

const PROGRAM = path.resolve(import.meta.dirname, "../../testing/runtime-process.ts");
const never = new AbortController().signal;

let local: LocalProcesses;
let spec: InstanceSpec;

beforeEach(() => {
  local = new LocalProcesses();
  // Each start leaves a line.
  const code = `fs.appendFileSync(process.env.STARTS, "x"); import(${JSON.stringify(ECHO_COMMAND[1])})`;
  const env = { STARTS: path.join(local.dataDir, "starts") };
  spec = localInstance("in-a", script(code), { env });
});

afterEach(() => {
  local.dispose();
});

/** Runs an agent that kills itself at the point. */
async function dieAt(fault: RuntimeFault): Promise<void> {
  const options: RuntimeProcessOptions = { dataDir: local.dataDir, spec, fault };
  const child = spawn(process.execPath, [PROGRAM, JSON.stringify(options)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let told = "";
  child.stdout.on("data", (chunk) => {
    told += String(chunk);
  });
  const [, signal] = await once(child, "close");
  expect({ told, signal }).toEqual({ told: fault, signal: "SIGKILL" });
}

function starts(): number {
  return readFileSync(path.join(local.dataDir, "starts"), "utf8").length;
}

it("has the block and nothing else when the agent was killed after it", async () => {
  await dieAt("block written");
  const runtime = await local.open();
  expect(await runtime.observe(never)).toEqual({ blockIds: ["blk-a"], instances: [] });
  await runtime.stop();
});

it.each<RuntimeFault>(["instance written", "start begun", "program started", "start written"])(
  "runs an instance exactly once when the agent was killed at: %s",
  async (fault) => {
    await dieAt(fault);
    const runtime = await local.open();
    // What an agent does that asks again since it got no answer.
    await runtime.applyBlock(LOCAL_BLOCK, never);
    expect(await runtime.applyInstance(spec, never)).toEqual({ kind: "applied" });
    const instance = await instanceWhen(runtime, "in-a", ({ isReady }) => isReady);
    expect(instance).toMatchObject({ phase: "running", restarts: 0 });
    expect(local.pids("blk-a/in-a")).toHaveLength(1);
    expect(starts()).toBe(1);
    await runtime.stop();
  },
);

it.each<RuntimeFault>(["removal written", "program ended"])(
  "ends a removal that was begun when the agent was killed at: %s",
  async (fault) => {
    await dieAt(fault);
    const runtime = await local.open();
    for (const instance of (await runtime.observe(never)).instances) {
      expect(instance.phase).toBe("terminating");
    }
    await runtime.removeInstance(spec, never);
    expect(local.pids("blk-a/in-a")).toEqual([]);
    expect(await runtime.observe(never)).toEqual({ blockIds: ["blk-a"], instances: [] });
    expect(local.file("in-a", "instance.json")).toBe("");
    await runtime.stop();
  },
);
