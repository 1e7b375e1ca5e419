import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { isEnded, parseListening, parseMarks, parseStat } from "./proc-text.ts";

describe("/proc/<pid>/stat", () => {
  const fields = (state: string) =>
    `${state} 10 42 40 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 1 0 987654 1000 2 18446744073709551615`;

  it("is read also when the command holds spaces and parentheses", () => {
    expect(parseStat(`42 (a) S 7 (b)) ${fields("D")}\n`)).toEqual({
      pid: 42,
      state: "D",
      parentPid: 10,
      groupId: 42,
      sessionId: 40,
      startTicks: 987_654,
    });
  });

  it("is read as this kernel writes it", () => {
    const stat = parseStat(readFileSync("/proc/self/stat", "latin1"));
    expect(stat).toMatchObject({ pid: process.pid, parentPid: process.ppid });
    expect(stat?.startTicks).toBeGreaterThan(0);
  });

  it.each(["", "42", "42 (a)", "42 (a) S", "42 (a) S 1 2 3 x", "x (a) S 1 2 3"])(
    "is nothing when it is %j",
    (text) => {
      expect(parseStat(text)).toBeUndefined();
    },
  );

  it.each([
    ["R", false],
    ["D", false],
    ["T", false],
    ["Z", true],
    ["X", true],
  ])("says in state %s whether the process has ended", (state, ended) => {
    expect(isEnded({ state })).toBe(ended);
  });
});

describe("/proc/<pid>/environ", () => {
  it("gives the marks wherever they stand", () => {
    const environ = "A=1\0BERTH_START=s\0BERTH_INSTANCE=b/i\0B=\0BERTH_RUNTIME_ID=r\0";
    expect(parseMarks(environ)).toEqual({ runtimeId: "r", instance: "b/i", startId: "s" });
  });

  it("gives marks of a process that took the start out", () => {
    const environ = "BERTH_INSTANCE=b/i\0BERTH_RUNTIME_ID=r\0";
    expect(parseMarks(environ)).toEqual({ runtimeId: "r", instance: "b/i", startId: "" });
  });

  it.each([
    "",
    "PATH=/bin\0",
    "BERTH_RUNTIME_ID=r\0",
    "BERTH_INSTANCE=b/i\0",
    "X=BERTH_RUNTIME_ID=r\0BERTH_INSTANCE=b/i\0",
    "BERTH_RUNTIME_ID=\0BERTH_INSTANCE=b/i\0",
  ])("of a process that is not ours gives none: %j", (environ) => {
    expect(parseMarks(environ)).toBeUndefined();
  });
});

describe("/proc/net/tcp", () => {
  const text = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:5626 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4435942 1 0000 100 0 0 10 0
   1: 0100007F:5626 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4435943 1 0000 100 0 0 10 0
   2: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 17 1 0 100 0 0 10 0
`;

  it("gives the listening sockets alone, of both families", () => {
    expect(parseListening(text)).toEqual([
      { port: 0x5626, inode: 4_435_942 },
      { port: 0x1f90, inode: 17 },
    ]);
  });

  it("gives none of an empty text", () => {
    expect(parseListening("")).toEqual([]);
  });
});
