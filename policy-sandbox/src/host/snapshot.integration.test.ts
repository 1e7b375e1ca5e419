import { randomUUID } from "node:crypto";
import { copyFile, mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { STATE_DIR } from "../testing/state-dir.ts";
import { SnapshotStore } from "./snapshot.ts";

let dir: string;
let image: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "berth-images-"));
  const file = await new SnapshotStore(STATE_DIR, () => undefined).ensure();
  image = basename(file);
  await copyFile(file, join(dir, image));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** Leaves a file that was last written to so long ago; gives its name. */
async function leave(name: string, ageSeconds: number): Promise<string> {
  const writtenAt = Date.now() / 1_000 - ageSeconds;
  await writeFile(join(dir, name), "half of it");
  await utimes(join(dir, name), writtenAt, writtenAt);
  return name;
}

test("an image that a killed process left unfinished goes at the next start, one that is being written stays", async () => {
  await leave(`${image}.${randomUUID()}.tmp`, 61);
  await leave(`snapshot-0123456789abcdef.bin.${randomUUID()}.tmp`, 100_000);
  const written = await leave(`${image}.${randomUUID()}.tmp`, 10);
  const foreign = await leave(`${image}.mine.tmp`, 100_000);
  await new SnapshotStore(dir, () => undefined).ensure();
  expect((await readdir(dir)).sort()).toEqual([image, written, foreign].sort());
});
