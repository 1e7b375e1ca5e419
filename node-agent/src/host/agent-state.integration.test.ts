import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { silentLogger } from "@berth/service-kit/base";
import { afterEach, beforeEach, expect, it } from "vitest";
import { countStart } from "./agent-state.ts";

let dataDir = "";

beforeEach(async () => {
  dataDir = await mkdtemp(path.join(os.tmpdir(), "berth-state-"));
});

afterEach(async () => {
  await rm(dataDir, { recursive: true, force: true });
});

it("counts starts from 1 and keeps the machine id it minted", async () => {
  const folder = path.join(dataDir, "made/on/demand");
  const first = await countStart(folder, silentLogger);
  const second = await countStart(folder, silentLogger);
  expect([first.incarnation, second.incarnation]).toEqual([1, 2]);
  expect(second.fallbackMachineId).toBe(first.fallbackMachineId);
  expect(await readdir(folder)).toEqual(["node-agent.json"]);
});

it("sets a damaged file aside and goes on with a higher count", async () => {
  await writeFile(path.join(dataDir, "node-agent.json"), '{"incarnation": 12');
  const state = await countStart(dataDir, silentLogger);
  expect(state.incarnation).toBeGreaterThan(1_600_000_000);
  expect(await readFile(path.join(dataDir, "node-agent.json.damaged"), "utf8")).toContain("12");
  const next = await countStart(dataDir, silentLogger);
  expect(next).toEqual({ ...state, incarnation: state.incarnation + 1 });
});

it("names the setting when the directory cannot be written", async () => {
  const file = path.join(dataDir, "file");
  await writeFile(file, "");
  await expect(countStart(file, silentLogger)).rejects.toThrow(/^BERTH_DATA_DIR: expected/);
});
