import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect, it } from "vitest";
import { makeDirectory } from "./make-directory.ts";

it("makes a directory and those above it for the owner alone, and leaves one that is there", () => {
  const root = mkdtempSync(path.join(os.tmpdir(), "berth-make-directory-"));
  const deep = path.join(root, "a", "b");
  makeDirectory(deep);
  makeDirectory(deep);
  expect(statSync(deep).mode & 0o777).toBe(0o700);
  writeFileSync(path.join(root, "file"), "");
  expect(() => makeDirectory(path.join(root, "file", "x"))).toThrow("ENOTDIR");
  rmSync(root, { recursive: true });
});

it("fails at once where nothing can be made", () => {
  expect(() => makeDirectory("/proc/berth/x")).toThrow();
});
