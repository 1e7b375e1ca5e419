import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { silentLogger } from "@berth/service-kit/base";
import { afterEach, beforeEach, expect, it } from "vitest";
import { countStart, MAX_STARTS } from "./agent-state.ts";

let dataDir = "";

beforeEach(async () => {
  dataDir = await mkdtemp(path.join(os.tmpdir(), "berth-state-"));
});

afterEach(async () => {
  await rm(dataDir, { recursive: true, force: true });
});

/** One more start in a folder. */
const start = (folder: string, instanceId = "a") =>
  countStart(folder, { instanceId, logger: silentLogger });

it("counts starts from 1 and keeps the machine id it minted", async () => {
  const folder = path.join(dataDir, "made/on/demand");
  const first = await start(folder);
  const second = await start(folder);
  expect([first.incarnation, second.incarnation]).toEqual([1, 2]);
  expect(second.fallbackMachineId).toBe(first.fallbackMachineId);
  expect(await readdir(folder)).toEqual(["node-agent.json"]);
});

it("sets a damaged file aside and goes on with a higher count", async () => {
  await writeFile(path.join(dataDir, "node-agent.json"), '{"incarnation": 12');
  const state = await start(dataDir);
  expect(state.incarnation).toBeGreaterThan(1_600_000_000);
  expect(await readFile(path.join(dataDir, "node-agent.json.damaged"), "utf8")).toContain("12");
  const next = await start(dataDir);
  expect(next).toMatchObject({
    fallbackMachineId: state.fallbackMachineId,
    incarnation: state.incarnation + 1,
  });
});

it("tells of the starts before this one, oldest first, the newest ones when there are many", async () => {
  expect((await start(dataDir, "first")).formerInstanceIds).toEqual([]);
  expect((await start(dataDir, "second")).formerInstanceIds).toEqual(["first"]);
  const instanceIds = Array.from({ length: MAX_STARTS }, (_, index) => `s${index}`);
  const kept = { incarnation: 9, fallbackMachineId: "x", instanceIds };
  await writeFile(path.join(dataDir, "node-agent.json"), JSON.stringify(kept));
  expect((await start(dataDir, "third")).formerInstanceIds).toEqual(instanceIds);
  const { formerInstanceIds } = await start(dataDir, "fourth");
  expect(formerInstanceIds).toEqual([...instanceIds.slice(1), "third"]);
});

it("keeps the start that the cluster-agent answered last beside the newest ones, however many follow", async () => {
  await start(dataDir, "older");
  const answered = await start(dataDir, "answered");
  await answered.wasAnswered();
  await answered.wasAnswered();
  const file = path.join(dataDir, "node-agent.json");
  const state = JSON.parse(await readFile(file, "utf8"));
  const later = Array.from({ length: MAX_STARTS - 2 }, (_, index) => `s${index}`);
  const instanceIds = [...state.instanceIds, ...later];
  await writeFile(file, JSON.stringify({ ...state, instanceIds }));
  for (const id of ["a", "b", "c"]) await start(dataDir, id);
  const last = await start(dataDir, "last");
  expect(last.formerInstanceIds).toEqual(["answered", ...later.slice(2), "a", "b", "c"]);
  await last.wasAnswered();
  await start(dataDir, "next");
  const { formerInstanceIds } = await start(dataDir, "after that");
  expect(formerInstanceIds).toHaveLength(MAX_STARTS);
  expect(formerInstanceIds[0]).toBe("s3");
});

it("says when it cannot be kept that a start was answered", async () => {
  const folder = path.join(dataDir, "gone");
  const { wasAnswered } = await start(folder);
  await rm(folder, { recursive: true });
  await expect(wasAnswered()).rejects.toThrow(/^BERTH_DATA_DIR: expected/);
});

it("names the setting when the directory cannot be written", async () => {
  const file = path.join(dataDir, "file");
  await writeFile(file, "");
  await expect(start(file)).rejects.toThrow(/^BERTH_DATA_DIR: expected/);
});
