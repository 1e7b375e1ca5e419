import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeFolder } from "./make-folder.ts";

let root: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "berth-folders-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

test("missing folders are made, and one that is there is left as it is", async () => {
  const folder = join(root, "a", "b", "c");
  await makeFolder(folder);
  await makeFolder(folder);
  expect((await stat(folder)).isDirectory()).toBe(true);
});

test("two that make the same folders at once both succeed", async () => {
  const folder = join(root, "x", "y", "z");
  await Promise.all([makeFolder(folder), makeFolder(folder), makeFolder(join(folder, "deeper"))]);
  expect((await stat(join(folder, "deeper"))).isDirectory()).toBe(true);
});

test("a file in the way is named", async () => {
  const file = join(root, "file");
  await writeFile(file, "");
  await expect(makeFolder(file)).rejects.toThrow(`the folder ${file} cannot be made (ENOTDIR)`);
  await expect(makeFolder(join(file, "below"))).rejects.toThrow("(ENOTDIR)");
});

test.runIf(process.platform === "linux")("a folder below /proc fails at once", async () => {
  await expect(makeFolder("/proc/berth/a/b")).rejects.toThrow(
    "the folder /proc/berth cannot be made (ENOENT)",
  );
});
