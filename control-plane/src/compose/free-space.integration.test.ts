import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { freeSpaceCheck, NEEDED_MIB } from "./free-space.ts";

const MIB = 1024 * 1024;
let root: string;
let sandbox: string;

beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), "berth-free-"));
  sandbox = path.join(root, "sandbox");
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

describe("the check of free space", () => {
  const withFree = (mib: number) => freeSpaceCheck(sandbox, async () => mib * MIB).start();

  it("fails the start with the directory, what is free and what is needed", async () => {
    await expect(withFree(20)).rejects.toMatchObject({
      reason: "UNAVAILABLE",
      message: `the policy sandbox has too little space in ${sandbox}: 20.0 MiB free, 64 MiB needed; make room there, or set BERTH_DATA_DIR to a directory with more`,
    });
  });

  it("is content with just enough, and with whatever is free where a snapshot is", async () => {
    await withFree(NEEDED_MIB);
    mkdirSync(sandbox);
    await expect(withFree(NEEDED_MIB - 1)).rejects.toThrow("63.0 MiB free");
    writeFileSync(path.join(sandbox, "snapshot-0123456789abcdef.bin.1.tmp"), "");
    await expect(withFree(0)).rejects.toThrow("0.0 MiB free");
    writeFileSync(path.join(sandbox, "snapshot-0123456789abcdef.bin"), "");
    await withFree(0);
  });

  it("asks the system, also before the directory is there", async () => {
    await freeSpaceCheck(sandbox).start();
    mkdirSync(sandbox);
    await freeSpaceCheck(sandbox).start();
  });

  it("names a directory that is none", async () => {
    writeFileSync(sandbox, "");
    await expect(freeSpaceCheck(sandbox).start()).rejects.toThrow(
      `the policy sandbox cannot use ${sandbox}: ENOTDIR`,
    );
  });
});
