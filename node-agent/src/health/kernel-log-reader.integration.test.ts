import { appendFile, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { Quality } from "@berth/proto";
import { systemClock } from "@berth/service-kit/base";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { collectingLogger, type LogLine } from "../testing/collecting-logger.ts";
import type { KernelMessage } from "./kernel-log.ts";
import { KernelLogReader } from "./kernel-log-reader.ts";

const WAIT = { timeout: 5_000, interval: 10 };

let directory = "";
let file = "";
let lines: LogLine[] = [];
let heard: KernelMessage[] = [];
let reader: KernelLogReader | undefined;

async function begin(log = file, read?: () => string): Promise<KernelLogReader> {
  lines = [];
  heard = [];
  const begun = new KernelLogReader({
    file: log,
    clock: systemClock,
    logger: collectingLogger(lines),
    timings: { pollMs: 10, reopenMs: 20 },
    uptimeMs: () => 1_000_000,
    ...(read === undefined ? {} : { read: (_fd, buffer) => buffer.write(read()) }),
  });
  reader = begun;
  begun.subscribe((messages) => heard.push(...messages));
  await begun.start();
  await begun.ready;
  return begun;
}

const texts = () => heard.map(({ text }) => text);

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), "berth-kernel-log-"));
  file = path.join(directory, "log");
});

afterEach(async () => {
  await reader?.stop();
  await rm(directory, { recursive: true, force: true });
});

it("tells what was logged before its start, with its age, and then what comes", async () => {
  await writeFile(file, "6,1,900000000,-;first\n K=V\n6,2,999000000,-;second\n");
  const log = await begin();
  const nowMs = systemClock.nowMs();
  expect(log.quality()).toBe(Quality.MEASURED);
  expect(texts()).toEqual(["first", "second"]);
  expect(nowMs - (heard[0]?.atMs ?? 0)).toBeGreaterThanOrEqual(100_000);
  expect(nowMs - (heard[0]?.atMs ?? 0)).toBeLessThan(105_000);
  await appendFile(file, "6,3,999500000,-;thi");
  await appendFile(file, "rd\n");
  await vi.waitFor(() => expect(texts()).toEqual(["first", "second", "third"]), WAIT);
});

it("gives a message from the future no age below zero", async () => {
  await writeFile(file, "6,1,5000000000,-;clock of another boot\n");
  await begin();
  expect(heard[0]?.atMs).toBeLessThanOrEqual(systemClock.nowMs());
});

it("reads a long log in full before it is ready", async () => {
  const records = Array.from({ length: 20_000 }, (_none, seq) => `6,${seq},1,-;message ${seq}`);
  await writeFile(file, `${records.join("\n")}\n`);
  await begin();
  expect(heard).toHaveLength(20_000);
  expect(heard.at(-1)?.text).toBe("message 19999");
});

it("is unavailable without access, says so once, and comes when there is some", async () => {
  const log = await begin();
  expect(log.quality()).toBe(Quality.UNAVAILABLE);
  let told = 0;
  log.subscribe(() => {
    told += 1;
  });
  await writeFile(`${file}.new`, "6,7,1,-;now\n");
  await rename(`${file}.new`, file);
  await vi.waitFor(() => expect(texts()).toEqual(["now"]), WAIT);
  expect(log.quality()).toBe(Quality.MEASURED);
  expect(told).toBe(2);
  expect(lines.filter(({ level }) => level === "warn")).toHaveLength(1);
});

it("is unavailable when the file opens and cannot be read", async () => {
  const log = await begin(directory);
  expect(log.quality()).toBe(Quality.UNAVAILABLE);
  expect(lines[0]?.fields.why).toMatch(/EISDIR/);
});

/** A device that gives these, one per read: a record, or the code of an error; then nothing more. */
function device(...answers: readonly string[]): () => string {
  const left = [...answers];
  return () => {
    const next = left.shift() ?? "EAGAIN";
    if (next.startsWith("E")) throw Object.assign(new Error(next), { code: next });
    return next;
  };
}

it("goes on behind messages that were overwritten before they were read", async () => {
  await writeFile(file, "");
  const read = device("6,1,1,-;one\n", "EPIPE", "6,9,1,-;nine\n", "EINVAL", "6,11,1,-;eleven\n");
  const log = await begin(file, read);
  expect(texts()).toEqual(["one", "nine", "eleven"]);
  expect(log.quality()).toBe(Quality.MEASURED);
  expect(lines.map(({ fields }) => fields.losses)).toEqual([2]);
});

it("is unavailable when a read is refused, and tells nothing twice when it is opened again", async () => {
  await writeFile(file, "");
  const records = ["6,1,1,-;one\n", "6,2,1,-;two\n"];
  const log = await begin(file, device(...records, "EPERM", ...records, "6,3,1,-;three\n"));
  expect(log.quality()).toBe(Quality.UNAVAILABLE);
  await vi.waitFor(() => expect(texts()).toEqual(["one", "two", "three"]), WAIT);
  expect(log.quality()).toBe(Quality.MEASURED);
});

it("gives up a device that has nothing but errors", async () => {
  await writeFile(file, "");
  const log = await begin(file, () => device("EINVAL")());
  expect(log.quality()).toBe(Quality.UNAVAILABLE);
  expect(lines.filter(({ level }) => level === "warn")).toHaveLength(1);
});

it("stops while it waits", async () => {
  const log = await begin("/nonexistent/kmsg");
  await log.stop();
  await log.ready;
  expect(log.quality()).toBe(Quality.UNAVAILABLE);
});

it("reads the machine's own log without holding up the process, or says that it cannot", async () => {
  const log = await begin("/dev/kmsg");
  if (log.quality() === Quality.MEASURED) {
    expect(heard.length).toBeGreaterThan(0);
    expect(heard.every(({ text }) => text.length <= 1_024)).toBe(true);
  } else {
    expect(lines[0]?.fields.why).toMatch(/EACCES|EPERM|ENOENT|EISDIR/);
  }
  const beganMs = performance.now();
  await log.stop();
  expect(performance.now() - beganMs).toBeLessThan(1_000);
});
