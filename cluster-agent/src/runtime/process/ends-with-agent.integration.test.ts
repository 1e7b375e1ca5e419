import { afterEach, beforeEach, expect, it } from "vitest";
import { until } from "../../testing/fixtures.ts";
import {
  ECHO_COMMAND,
  instanceWhen,
  LOCAL_BLOCK,
  LocalProcesses,
  localInstance,
  script,
} from "../../testing/local-processes.ts";
import type { ProcessRuntime } from "./process-runtime.ts";

const never = new AbortController().signal;

let local: LocalProcesses;
let runtime: ProcessRuntime;

beforeEach(async () => {
  local = new LocalProcesses();
  runtime = await local.open({ endsInstances: true });
  await runtime.applyBlock(LOCAL_BLOCK, never);
});

afterEach(async () => {
  await runtime.stop();
  local.dispose();
});

it("leaves nothing behind where instances are to end with the agent, whatever they ignore", async () => {
  const code = `process.on("SIGTERM", () => {}); setInterval(() => {}, 1e6); console.log("up")`;
  await runtime.applyInstance(localInstance("in-a", script(code)), never);
  await runtime.applyInstance(localInstance("in-b", ECHO_COMMAND), never);
  await until("it is up", () => local.file("in-a", "output.log").includes("up"));
  await instanceWhen(runtime, "in-b", ({ isReady }) => isReady);
  expect(local.pids()).toHaveLength(2);
  await runtime.stop();
  expect(local.pids()).toEqual([]);
});

it("starts them again with the next agent, under their ids", async () => {
  await runtime.applyInstance(localInstance("in-a", ECHO_COMMAND), never);
  const before = await instanceWhen(runtime, "in-a", ({ isReady }) => isReady);
  await runtime.stop();
  runtime = await local.open({ endsInstances: true });
  const after = await instanceWhen(runtime, "in-a", ({ isReady }) => isReady);
  expect(after.podName).not.toBe(before.podName);
  expect(after).toMatchObject({ allocationId: before.allocationId, restarts: 1 });
});
