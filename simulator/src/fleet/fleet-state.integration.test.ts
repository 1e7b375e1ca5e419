import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { nodeIncarnation, nodeKey, openFleetState } from "./fleet-state.ts";

let directory = "";

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), "berth-fleet-state-"));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

it("counts starts, so that incarnations rise over starts and boots, and keeps the nodes' keys", async () => {
  const first = await openFleetState(directory, "sim");
  const second = await openFleetState(directory, "sim");
  expect([first.starts, second.starts]).toEqual([1, 2]);
  expect(nodeIncarnation(first, 2)).toBeGreaterThan(nodeIncarnation(first, 1));
  expect(nodeIncarnation(second, 1)).toBeGreaterThan(nodeIncarnation(first, 999_999));
  expect(nodeKey(second, "sim-0-node-1")).toBe(nodeKey(first, "sim-0-node-1"));
  expect(nodeKey(first, "sim-0-node-1")).toMatch(/^[\w-]{43}$/);
  expect(nodeKey(first, "sim-0-node-2")).not.toBe(nodeKey(first, "sim-0-node-1"));
});

it("keeps one file for each fleet, which only its owner can read", async () => {
  const [sim, other] = [
    await openFleetState(directory, "sim"),
    await openFleetState(directory, "other"),
  ];
  expect(other.secret).not.toBe(sim.secret);
  expect(await readdir(directory)).toEqual(["other.json", "sim.json"]);
  expect((await stat(path.join(directory, "sim.json"))).mode & 0o777).toBe(0o600);
});

it.each(["", "{", "null", "[]", '{"starts":-1,"secret":"x"}', '{"starts":1,"secret":"short"}'])(
  "refuses the damaged file %j by its name, and leaves it as it is",
  async (text) => {
    const file = path.join(directory, "sim.json");
    await writeFile(file, text);
    await expect(openFleetState(directory, "sim")).rejects.toThrow(file);
    expect(await readFile(file, "utf8")).toBe(text);
  },
);
