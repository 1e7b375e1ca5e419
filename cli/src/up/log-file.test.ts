import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LogFile } from "./log-file.ts";

describe("LogFile", () => {
  let dir: string;
  let errors: string[];

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "berth-log-"));
    errors = [];
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  const open = (limit: number) =>
    new LogFile(join(dir, "a.log"), (message) => errors.push(message), limit);

  it("keeps the newest lines in at most two files", () => {
    const log = open(8);
    for (const line of ["one", "two", "six", "ten", "end"]) log.write(line);
    log.close();
    expect(readFileSync(join(dir, "a.log"), "utf8")).toBe("end\n");
    expect(readFileSync(join(dir, "a.log.1"), "utf8")).toBe("six\nten\n");
    expect(existsSync(join(dir, "a.log.2"))).toBe(false);
    expect(statSync(join(dir, "a.log")).mode & 0o777).toBe(0o600);
  });

  it("goes on where the last run ended", () => {
    for (const line of ["one", "two"]) {
      const log = open(100);
      log.write(line);
      log.close();
    }
    expect(readFileSync(join(dir, "a.log"), "utf8")).toBe("one\ntwo\n");
  });

  it("tells once that lines are lost, and does not fail", () => {
    const log = open(4);
    log.write("one");
    rmSync(dir, { recursive: true });
    log.write("two");
    log.write("six");
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(/a\.log: lines are lost: ENOENT/);
    log.close();
  });
});
