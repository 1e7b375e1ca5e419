import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { HandClock } from "../testing/fixtures.ts";
import { revisionBase } from "./revision.ts";
import { StateBoard, stateDigest } from "./state-board.ts";

const revisions = (board: StateBoard) => board.entries().map((entry) => entry.revision);

describe("StateBoard", () => {
  it("raises a key's revision at each change, and not when the value is the same", () => {
    const board = new StateBoard(1n, new HandClock());
    board.set("cluster", "1");
    const [first = 0n] = revisions(board);
    board.set("cluster", "1");
    expect(revisions(board)).toEqual([first]);
    board.set("cluster", "2");
    expect(revisions(board)).toEqual([first + 1n]);
  });

  it("gives higher revisions after a restart than any before it", () => {
    const before = new StateBoard(3n, new HandClock());
    for (let change = 0; change < 1_000; change += 1) before.set("cluster", String(change));
    const after = new StateBoard(4n, new HandClock());
    after.set("cluster", "0");
    expect((revisions(after)[0] ?? 0n) > (revisions(before)[0] ?? 0n)).toBe(true);
    expect(revisionBase(4n) - revisionBase(3n)).toBe(2n ** 40n);
  });

  it("wakes whoever waits at a change, and at an abort", async () => {
    const board = new StateBoard(1n, new HandClock());
    const abort = new AbortController();
    const changed = board.changed(abort.signal);
    board.set("cluster", "1");
    await changed;
    const aborted = board.changed(abort.signal);
    abort.abort();
    await aborted;
    await board.changed(abort.signal);
  });
});

describe("stateDigest", () => {
  it("is the SHA-256 of key, tab, revision, line feed in key order", () => {
    const board = new StateBoard(0n, new HandClock());
    board.set("b", "x");
    board.set("a", "y");
    const expected = createHash("sha256").update("a\t2\nb\t1\n").digest("hex");
    expect(stateDigest(board.entries())).toBe(expected);
  });
});
