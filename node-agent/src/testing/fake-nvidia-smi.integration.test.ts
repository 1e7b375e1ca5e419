import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type FakeSmiRun, fakeSmiRun } from "./fake-smi-run.ts";
import { loadSmiFixture, SMI_FIXTURES } from "./smi-fixture.ts";

const WAIT = { timeout: 10_000, interval: 20 };
const CSV = (fields: string) => [`--query-gpu=${fields}`, "--format=csv,noheader,nounits"];

let fake: FakeSmiRun;
let children: ChildProcess[] = [];

beforeEach(async () => {
  fake = await fakeSmiRun("h100");
  children = [];
});

afterEach(async () => {
  for (const child of children) child.kill("SIGKILL");
  await fake.dispose();
});

async function run(args: string[], env: Record<string, string> = {}) {
  const options = { env: { ...fake.env, ...env }, timeout: 10_000 };
  const ended = promisify(execFile)(fake.smi.command, args, options);
  const result = await ended.catch((error: { code: number; stdout: string }) => error);
  return {
    code: "code" in result ? result.code : 0,
    lines: result.stdout.split("\n").slice(0, -1),
  };
}

/** Starts a looping query and gives the lines as they come. */
function loop(fields: string, env: Record<string, string> = {}) {
  const child = spawn(fake.smi.command, [...CSV(fields), "-lms", "20"], {
    env: { ...fake.env, ...env },
  });
  children.push(child);
  const lines: string[] = [];
  child.stdout.on("data", (chunk: Buffer) => lines.push(...chunk.toString().trim().split("\n")));
  return { child, lines };
}

describe.each(SMI_FIXTURES)("the recording %s", (name) => {
  it("is replayed as it stands by -q -x, topo -m and -L", async () => {
    const { xml, topo, list } = await loadSmiFixture(name);
    await fake.play(name);
    const said = async (...args: string[]) => `${(await run(args)).lines.join("\n")}\n`;
    expect(await said("-q", "-x")).toBe(xml);
    expect(await said("topo", "-m")).toBe(topo);
    expect(await said("-L")).toBe(list);
    expect(await fake.calls()).toEqual(["xml", "topo", "uuids"]);
  });

  it("gives the asked fields of the CSV, in the asked order", async () => {
    const { csv } = await loadSmiFixture(name);
    await fake.play(name);
    const { lines } = await run(CSV("pstate,uuid,clocks.sm"));
    const gpus = lines.filter((line) => line.includes("GPU-"));
    expect(gpus).toHaveLength(csv.split("\n").filter((line) => line.includes(", GPU-")).length);
    for (const line of gpus) expect(line).toMatch(/^(P0|\[Unknown Error\]), GPU-[0-9a-f-]{36}, \S/);
  });
});

it("refuses a field that its driver does not know", async () => {
  await fake.play("a100-mig");
  const { code, lines } = await run(CSV("uuid,clocks_event_reasons.active"));
  expect(code).toBe(2);
  expect(lines[0]).toBe('Field "clocks_event_reasons.active" is not a valid field to query.');
});

it("drifts from a seed: the same for the same seed, another for another, never out of bounds", async () => {
  const fields = "index,utilization.gpu,temperature.gpu,power.draw,memory.used,memory.free";
  const rounds = async (seed: string) => {
    const { child, lines } = loop(fields, { FAKE_SMI_SEED: seed });
    await vi.waitFor(() => expect(lines.length).toBeGreaterThan(80), WAIT);
    child.kill("SIGKILL");
    return lines.slice(0, 80);
  };
  const [first, again, other] = [await rounds("1"), await rounds("1"), await rounds("2")];
  expect(again).toEqual(first);
  expect(other).not.toEqual(first);
  expect(new Set(first.filter((line) => line.startsWith("3,"))).size).toBeGreaterThan(3);
  for (const line of [...first, ...other]) {
    const [, load = -1, heat = -1, power = -1, used = -1, free = -1] = line.split(", ").map(Number);
    expect(load).toBeGreaterThanOrEqual(0);
    expect(load).toBeLessThanOrEqual(100);
    expect(heat).toBeLessThan(80);
    expect(power).toBeLessThan(700);
    expect(Math.min(used, free)).toBeGreaterThanOrEqual(0);
    expect(used + free).toBeLessThan(81_559);
  }
});

it("plays another fault while it runs: an unknown value, then a GPU off the bus", async () => {
  const { lines } = loop("index,temperature.gpu");
  await vi.waitFor(() => expect(lines).toContain("3, 37"), WAIT);
  await fake.play("h100", "unknown:temperature.gpu");
  await vi.waitFor(() => expect(lines).toContain("3, [Unknown Error]"), WAIT);
  await fake.play("h100", "lost:3");
  const lost = "Unable to determine the device handle for GPU3: 0000:61:00.0: Unknown Error";
  await vi.waitFor(() => expect(lines).toContain(lost), WAIT);
  const from = lines.indexOf(lost);
  await vi.waitFor(() => expect(lines.length).toBeGreaterThan(from + 20), WAIT);
  expect(lines.slice(from).some((line) => line.startsWith("3,"))).toBe(false);
});

it.each([
  ["-q -x", ["-q", "-x"], /<gpu id="00000000:61:00.0">|GPU-021800d8/],
  ["topo -m", ["topo", "-m"], /^GPU3|\tGPU3\t/m],
  ["-L", ["-L"], /^GPU 3:/m],
])("leaves a lost GPU out of %s and says that it is lost", async (_what, args, itself) => {
  const whole = (await run(args)).lines.join("\n");
  expect(whole).toMatch(itself);
  await fake.play("h100", "lost:3");
  const { lines } = await run(args);
  expect(lines[0]).toMatch(/^Unable to determine the device handle for GPU3/);
  expect(lines.join("\n")).not.toMatch(itself);
});

it.each([
  ["list", CSV("uuid")],
  ["xml", ["-q", "-x"]],
  ["topo", ["topo", "-m"]],
  ["uuids", ["-L"]],
])("fails, garbles and warns in mode %s", async (mode, args) => {
  await fake.play("h100", `fail-${mode}`);
  expect(await run(args)).toMatchObject({ code: 9 });
  await fake.play("h100", `garble-${mode}`);
  const garbled = await run(args);
  expect(garbled).toMatchObject({ code: 0 });
  expect(garbled.lines.join()).not.toContain("GPU-");
  await fake.play("h100", "warn");
  expect((await run(args)).lines[0]).toMatch(/^WARNING: infoROM is corrupted/);
  await fake.play("none");
  expect(await run(args)).toEqual({ code: 6, lines: ["No devices were found"] });
});

it("ignores SIGTERM when it is stubborn, and ends by SIGKILL", async () => {
  await fake.play("t4", "stubborn,slow");
  const began = performance.now();
  const { child, lines } = loop("index");
  await vi.waitFor(() => expect(lines.length).toBeGreaterThan(2), WAIT);
  expect(performance.now() - began).toBeGreaterThan(1_000);
  child.kill("SIGTERM");
  const before = lines.length;
  await vi.waitFor(() => expect(lines.length).toBeGreaterThan(before + 5), WAIT);
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  expect(await exit).toEqual([null, "SIGKILL"]);
});

it("refuses what it does not know", async () => {
  expect(await run(["--help"])).toMatchObject({ code: 2 });
});
