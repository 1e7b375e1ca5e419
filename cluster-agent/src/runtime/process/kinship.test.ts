import { describe, expect, it } from "vitest";
import type { InstanceState } from "./instance-record.ts";
import {
  instanceProcesses,
  mainProcess,
  markedInstances,
  type ProcessEntry,
  ProcessLook,
  rememberedKin,
} from "./kinship.ts";

const KIN = { runtimeId: "r", instance: "b/i", known: [] };

/** A process in the session and group of its own, without marks. */
function entry(pid: number, more: Partial<ProcessEntry> = {}): ProcessEntry {
  const own = { parentPid: 1, groupId: pid, sessionId: pid, startTicks: 100 };
  return { pid, state: "S", ...own, marks: undefined, ...more };
}

function marks(instance = "b/i", runtimeId = "r", startId = "s") {
  return { marks: { runtimeId, instance, startId } };
}

function pids(entries: readonly ProcessEntry[], kin: typeof KIN | object = {}): number[] {
  return instanceProcesses(entries, { ...KIN, ...kin }).map(({ pid }) => pid);
}

describe("the processes of an instance", () => {
  it("are those that carry its marks and the runtime's, and live", () => {
    const entries = [
      entry(2, marks()),
      entry(3, marks("b/i2")),
      entry(4, marks("b/i", "other")),
      entry(5),
      entry(6, { ...marks(), state: "Z" }),
    ];
    expect(pids(entries)).toEqual([2]);
  });

  it("are the children of such ones, in whatever order they are listed", () => {
    const entries = [entry(9, { parentPid: 8 }), entry(8, { parentPid: 7 }), entry(7, marks())];
    expect(pids(entries).sort()).toEqual([7, 8, 9]);
  });

  it("are not children that are older than their parent: its number was another's before", () => {
    const entries = [
      entry(7, { ...marks(), startTicks: 200 }),
      entry(8, { parentPid: 7, startTicks: 199 }),
      entry(9, { parentPid: 7, startTicks: 200 }),
    ];
    expect(pids(entries)).toEqual([7, 9]);
  });

  it("are those in a session that one of them leads", () => {
    const entries = [entry(7, marks()), entry(8, { sessionId: 7 }), entry(9, { sessionId: 6 })];
    expect(pids(entries)).toEqual([7, 8]);
  });

  it("are the known ones although they carry nothing, unless the number is another's now", () => {
    const known = [
      { pid: 7, startTicks: 100 },
      { pid: 8, startTicks: 99 },
    ];
    expect(pids([entry(7), entry(8)], { known })).toEqual([7]);
  });
});

describe("the processes of an instance whose main process has ended", () => {
  const known = [{ pid: 7, startTicks: 100 }];

  it("are those that are left of its session, and their children", () => {
    const entries = [
      entry(8, { sessionId: 7 }),
      entry(9, { parentPid: 8 }),
      entry(10, { sessionId: 7, startTicks: 99 }),
      entry(11, { sessionId: 6 }),
    ];
    expect(pids(entries, { known })).toEqual([8, 9]);
    const corpse = entry(7, { state: "Z" });
    expect(pids([...entries, corpse], { known })).toEqual([8, 9]);
  });

  it("are none of a session that somebody else leads under the same number", () => {
    const entries = [entry(7, { startTicks: 200 }), entry(8, { sessionId: 7, startTicks: 201 })];
    expect(pids(entries, { known })).toEqual([]);
    const ended = entry(7, { startTicks: 200, state: "Z" });
    expect(pids([ended, ...entries.slice(1)], { known })).toEqual([]);
  });
});

describe("what is remembered of an instance", () => {
  const known = [
    { pid: 7, startTicks: 100 },
    { pid: 5, startTicks: 90 },
  ];

  it("are those that live, and who led a session in which some do; by hand those without marks", () => {
    const look = new ProcessLook([
      entry(8, { sessionId: 7 }),
      entry(9, marks()),
      entry(10, marks("b/j")),
    ]);
    const { all, unmarked } = rememberedKin(look, { ...KIN, known });
    expect(all.map(({ pid }) => pid).sort((a, b) => a - b)).toEqual([7, 8, 9]);
    expect(unmarked).toEqual([
      { pid: 7, startTicks: 100 },
      { pid: 8, startTicks: 100 },
    ]);
  });

  it("is nothing when none is left", () => {
    const look = new ProcessLook([entry(4)]);
    expect(rememberedKin(look, { ...KIN, known })).toEqual({ all: [], unmarked: [] });
  });
});

describe("the main process of an instance", () => {
  const state: InstanceState = {
    ...{ startId: "s", specDigest: "d", restarts: 0, failures: 0, bootId: "boot", hasRun: true },
    process: { pid: 7, startTicks: 100 },
  };

  it("is the recorded one", () => {
    expect(mainProcess([entry(6, marks()), entry(7)], state)?.pid).toBe(7);
  });

  it("is none when the recorded one is gone, whatever is left of it", () => {
    expect(mainProcess([entry(7, { startTicks: 101 }), entry(8, marks())], state)).toBeUndefined();
  });

  it("is the oldest leader of a session with the mark of the start when none is recorded", () => {
    const entries = [
      entry(10, { ...marks(), startTicks: 102 }),
      entry(9, { ...marks(), startTicks: 101 }),
      entry(8, { ...marks(), sessionId: 9 }),
      entry(7, marks("b/i", "r", "earlier")),
    ];
    expect(mainProcess(entries, { ...state, process: undefined })?.pid).toBe(9);
  });

  it("is none when it was never started", () => {
    expect(mainProcess([entry(7, marks())], undefined)).toBeUndefined();
  });
});

it("names each instance of a runtime that lives once", () => {
  const entries = [
    entry(2, marks("b/i")),
    entry(3, marks("b/i")),
    entry(4, marks("b/j")),
    entry(5, marks("b/k", "other")),
    entry(6, { ...marks("b/l"), state: "Z" }),
    entry(7),
  ];
  expect(markedInstances(entries, "r")).toEqual(["b/i", "b/j"]);
});
