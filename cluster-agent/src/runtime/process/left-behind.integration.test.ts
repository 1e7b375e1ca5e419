import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { until } from "../../testing/fixtures.ts";
import {
  instanceWhen,
  isLiving,
  LOCAL_BLOCK,
  LocalProcesses,
  localInstance,
  pidOf,
} from "../../testing/local-processes.ts";
import type { InstanceSpec } from "../runtime.ts";
import { parseStat } from "./proc-text.ts";
import type { ProcessRuntime } from "./process-runtime.ts";

const never = new AbortController().signal;

let local: LocalProcesses;
let runtime: ProcessRuntime;
let child: number;

beforeEach(async () => {
  local = new LocalProcesses();
  runtime = await local.open();
  child = 0;
});

afterEach(async () => {
  await runtime.stop();
  if (child !== 0 && isLiving(child)) process.kill(child, "SIGKILL");
  local.dispose();
});

/** Starts a shell that starts a child without any environment, and becomes another program then. */
async function startWithChild(program: string): Promise<{ spec: InstanceSpec; main: number }> {
  const code = `env -i ${program} & echo "child $! end"; exec sleep 1001`;
  const spec = localInstance("in-a", ["sh", "-c", code]);
  await runtime.applyBlock(LOCAL_BLOCK, never);
  await runtime.applyInstance(spec, never);
  await until("the child is told", () => local.file("in-a", "output.log").includes("end"));
  child = Number(/child (\d+)/.exec(local.file("in-a", "output.log"))?.[1]);
  await until("it has no environment", () => readFileSync(`/proc/${child}/environ`).length === 0);
  return { spec, main: pidOf(await instanceWhen(runtime, "in-a", ({ podName }) => !!podName)) };
}

/** The child goes into a session of its own as soon as the instance's state names it. */
async function startLeaver(): Promise<{ spec: InstanceSpec; main: number }> {
  const go = path.join(local.dataDir, "go");
  const leaving = `while [ ! -e ${go} ]; do sleep 0.05; done; exec setsid sleep 1002`;
  const started = await startWithChild(`sh -c '${leaving}'`);
  await until("it is remembered", () => {
    const state = JSON.parse(local.file("in-a", "state.json"));
    return state.kin?.some(({ pid }: { pid: number }) => pid === child);
  });
  writeFileSync(go, "");
  const session = () => parseStat(readFileSync(`/proc/${child}/stat`, "latin1"))?.sessionId;
  await until("it leads a session", () => session() === child);
  return started;
}

it("ends a child without environment before a program that was killed is started again", async () => {
  const { main } = await startWithChild("sleep 1002");
  process.kill(main, "SIGKILL");
  await instanceWhen(runtime, "in-a", ({ restarts }) => restarts === 1);
  expect(isLiving(child)).toBe(false);
});

it("ends such a child although the program was killed while no agent ran", async () => {
  const { spec, main } = await startWithChild("sleep 1002");
  await runtime.stop();
  process.kill(main, "SIGKILL");
  await until("the program has ended", () => !isLiving(main));
  expect(isLiving(child)).toBe(true);
  runtime = await local.open();
  await runtime.removeInstance(spec, never);
  expect(isLiving(child)).toBe(false);
});

it("ends a child that was seen before it left session, parent and environment", async () => {
  const { spec, main } = await startLeaver();
  process.kill(main, "SIGKILL");
  await runtime.removeInstance(spec, never);
  expect(isLiving(child)).toBe(false);
});

it("remembers such a child over the end of the agent", async () => {
  const { spec, main } = await startLeaver();
  await runtime.stop();
  process.kill(main, "SIGKILL");
  await until("the program has ended", () => !isLiving(main));
  runtime = await local.open();
  await runtime.removeInstance(spec, never);
  expect(isLiving(child)).toBe(false);
});
