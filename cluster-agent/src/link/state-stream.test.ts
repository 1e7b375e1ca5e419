import type { StateRequest } from "@berth/proto";
import { describe, expect, it } from "vitest";
import { HandClock, until } from "../testing/fixtures.ts";
import { CHUNK_CHARACTERS, chunked } from "./chunks.ts";
import { StateBoard } from "./state-board.ts";
import { AckDeadline, stateMessages } from "./state-stream.ts";

function stream(board: StateBoard, held?: ReturnType<StateBoard["entries"]>) {
  const abort = new AbortController();
  const clock = new HandClock();
  const messages = stateMessages({
    board,
    clock,
    sessionId: "s",
    held,
    signal: abort.signal,
    onSend: () => undefined,
  });
  const next = async (): Promise<StateRequest | undefined> => (await messages.next()).value;
  return { abort, next };
}

const short = (message: StateRequest | undefined) =>
  message && {
    seq: Number(message.streamSeq),
    json: message.entries.map((entry) => entry.json),
    snapshot: message.snapshot,
    end: message.snapshotEnd,
  };

describe("stateMessages", () => {
  it("sends a snapshot, then only the newest value of what changed meanwhile", async () => {
    const board = new StateBoard(1n, new HandClock());
    board.set("cluster", "1");
    const { next, abort } = stream(board);
    expect(short(await next())).toEqual({ seq: 1, json: ["1"], snapshot: true, end: true });
    board.set("cluster", "2");
    board.set("cluster", "3");
    expect(short(await next())).toEqual({ seq: 2, json: ["3"], snapshot: false, end: false });
    const waiting = next();
    board.set("cluster", "4");
    expect(short(await waiting)).toEqual({ seq: 3, json: ["4"], snapshot: false, end: false });
    abort.abort();
    expect(await next()).toBeUndefined();
  });

  it("sends an empty snapshot when there is no state", async () => {
    const { next } = stream(new StateBoard(1n, new HandClock()));
    expect(short(await next())).toEqual({ seq: 1, json: [], snapshot: true, end: true });
  });

  it("sends nothing that the control-plane holds, but what changed since it was registered", async () => {
    const board = new StateBoard(1n, new HandClock());
    board.set("a", "1");
    board.set("b", "1");
    const held = board.entries();
    board.set("b", "2");
    const { next } = stream(board, held);
    expect(short(await next())).toEqual({ seq: 1, json: ["2"], snapshot: false, end: false });
  });
});

describe("chunked", () => {
  it("splits by size, keeps the order, and lets a single large entry through", () => {
    const half = "x".repeat(CHUNK_CHARACTERS / 2);
    const entries = [half, half, "y", half + half + half, "z"].map((json) => ({ json }));
    const sizes = chunked(entries).map((chunk) => chunk.length);
    expect(sizes).toEqual([2, 1, 1, 1]);
    expect(chunked(entries).flat()).toEqual(entries);
  });

  it("gives one empty chunk for nothing", () => {
    expect(chunked([])).toEqual([[]]);
  });
});

describe("AckDeadline", () => {
  it("fires when the newest message is not acknowledged", async () => {
    let late = 0;
    const deadline = new AckDeadline(20, () => {
      late += 1;
    });
    deadline.sent(1n);
    deadline.sent(2n);
    deadline.acked(1n);
    await until("the deadline fires", () => late === 1);
    deadline.stop();
  });

  it("holds no timer once everything is acknowledged", () => {
    const before = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const deadline = new AckDeadline(60_000, () => undefined);
    deadline.sent(1n);
    deadline.acked(1n);
    const after = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    expect(after).toBe(before);
  });
});
