import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ProcessTable } from "./process-table.ts";

describe("the processes of this machine", () => {
  it("are listed with the marks that they carry", async () => {
    const env = { BERTH_RUNTIME_ID: "r", BERTH_INSTANCE: "b/i", BERTH_START: "s" };
    const child = spawn("sleep", ["1000"], { env: { ...process.env, ...env }, stdio: "ignore" });
    try {
      const entries = await new ProcessTable().scan();
      expect(entries.find(({ pid }) => pid === child.pid)).toMatchObject({
        parentPid: process.pid,
        marks: { runtimeId: "r", instance: "b/i", startId: "s" },
      });
      expect(entries.find(({ pid }) => pid === process.pid)?.marks).toBeUndefined();
    } finally {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  });

  it("are looked at once for callers that wait together, and after the call for each", async () => {
    const table = new ProcessTable();
    const running = table.scan();
    await Promise.resolve();
    const child = spawn("sleep", ["1000"], { stdio: "ignore" });
    try {
      const later = table.scan();
      expect(table.scan()).toBe(later);
      expect(later).not.toBe(running);
      expect((await later).some(({ pid }) => pid === child.pid)).toBe(true);
      await running;
    } finally {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  });
});

describe("processes that hang in the kernel", () => {
  let procDir: string;
  let hung: string[];

  beforeEach(() => {
    procDir = mkdtempSync(path.join(tmpdir(), "berth-proc-"));
    hung = [];
  });

  afterEach(() => {
    // Lets the reads go.
    for (const file of hung) closeSync(openSync(file, "r+"));
    rmSync(procDir, { recursive: true });
  });

  function add(pid: number, isHung: boolean): void {
    const folder = path.join(procDir, String(pid));
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    const fields = `S 1 ${pid} ${pid} 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 500 0`;
    writeFileSync(path.join(folder, "stat"), `${pid} (x) ${fields}`);
    const environ = path.join(folder, "environ");
    if (!isHung) {
      writeFileSync(environ, `BERTH_RUNTIME_ID=r\0BERTH_INSTANCE=b/${pid}\0`);
      return;
    }
    // A pipe that nobody writes to hangs who opens it.
    execFileSync("mkfifo", [environ]);
    hung.push(environ);
  }

  it("keep the marks that they had before", async () => {
    add(10, false);
    const table = new ProcessTable({ procDir, hungAfterMs: 100 });
    await table.scan();
    add(10, true);
    for (let look = 0; look < 3; look += 1) {
      expect((await table.scan()).map(({ marks }) => marks?.instance)).toEqual(["b/10"]);
    }
  });

  it("are listed without marks when they had none before, and are not waited for again", async () => {
    add(10, true);
    add(11, false);
    const table = new ProcessTable({ procDir, hungAfterMs: 100 });
    for (let look = 0; look < 4; look += 1) {
      const entries = await table.scan();
      expect(entries.map(({ pid, marks }) => [pid, marks?.instance])).toEqual([
        [10, undefined],
        [11, "b/11"],
      ]);
    }
  });

  it("are too many from two on: nothing is told then", async () => {
    for (const pid of [10, 11]) add(pid, true);
    add(12, false);
    const table = new ProcessTable({ procDir, hungAfterMs: 100 });
    await table.scan().catch(() => undefined);
    await expect(table.scan()).rejects.toMatchObject({
      reason: "UNAVAILABLE",
      message: expect.stringContaining("pid 10 (start 500)"),
    });
  });

  it("are read anew once a read ends that was only slow", async () => {
    for (const pid of [10, 11]) add(pid, true);
    add(12, false);
    const table = new ProcessTable({ procDir, hungAfterMs: 100 });
    await table.scan().catch(() => undefined);
    await expect(table.scan()).rejects.toMatchObject({ reason: "UNAVAILABLE" });
    const slow = hung;
    for (const file of slow) closeSync(openSync(file, "r+"));
    for (const pid of [10, 11]) add(pid, false);
    hung = [];
    await vi.waitFor(async () => {
      const marks = (await table.scan()).map((entry) => entry.marks?.instance);
      expect(marks).toEqual(["b/10", "b/11", "b/12"]);
    });
  });
});
