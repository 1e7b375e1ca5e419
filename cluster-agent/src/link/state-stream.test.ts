import type { StateRequest } from "@berth/proto";
import { openSqliteDocumentStore, silentLogger } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { HandClock } from "../testing/fixtures.ts";
import { CHUNK_CHARACTERS, chunked } from "./chunks.ts";
import { EventHold } from "./event-hold.ts";
import { openOutbox } from "./outbox.ts";
import { StateBoard } from "./state-board.ts";
import { stateMessages } from "./state-stream.ts";

async function stream(
  board: StateBoard,
  options: { held?: ReturnType<StateBoard["entries"]>; admitted?: Promise<void> } = {},
) {
  const abort = new AbortController();
  const clock = new HandClock();
  const store = openSqliteDocumentStore(":memory:", clock);
  const outbox = await openOutbox({ store, orgId: "o", clock, logger: silentLogger });
  const eventHold = new EventHold({ clock, logger: silentLogger });
  const sent: { seq: number; end: boolean; events: number }[] = [];
  const messages = stateMessages({
    board,
    outbox,
    eventHold,
    clock,
    sessionId: "s",
    held: options.held,
    admitted: () => options.admitted ?? Promise.resolve(),
    signal: abort.signal,
    onSend: ({ streamSeq, snapshotEnd, batch }) => {
      const events = batch?.events.length ?? 0;
      sent.push({ seq: Number(streamSeq), end: snapshotEnd, events });
    },
  });
  const next = async (): Promise<StateRequest | undefined> => (await messages.next()).value;
  return { abort, clock, eventHold, next, outbox, sent };
}

const short = (message: StateRequest | undefined) =>
  message && {
    seq: Number(message.streamSeq),
    json: message.entries.map((entry) => entry.json),
    snapshot: message.snapshot,
    end: message.snapshotEnd,
  };

const HELLO = { seq: 1, json: [], snapshot: false, end: false };

describe("stateMessages", () => {
  it("opens with an empty message, sends a snapshot, then only the newest value of what changed", async () => {
    const board = new StateBoard(1n, new HandClock());
    board.set("cluster", "1");
    const { next, abort } = await stream(board);
    expect(short(await next())).toEqual(HELLO);
    expect(short(await next())).toEqual({ seq: 2, json: ["1"], snapshot: true, end: true });
    board.set("cluster", "2");
    board.set("cluster", "3");
    expect(short(await next())).toEqual({ seq: 3, json: ["3"], snapshot: false, end: false });
    const waiting = next();
    board.set("cluster", "4");
    expect(short(await waiting)).toEqual({ seq: 4, json: ["4"], snapshot: false, end: false });
    abort.abort();
    expect(await next()).toBeUndefined();
  });

  it("waits with the snapshot until it is admitted, and sends the state of then", async () => {
    const board = new StateBoard(1n, new HandClock());
    board.set("cluster", "1");
    const admission = Promise.withResolvers<void>();
    const { next, sent } = await stream(board, { admitted: admission.promise });
    await next();
    const waiting = next();
    board.set("cluster", "2");
    expect(sent).toHaveLength(1);
    admission.resolve();
    expect(short(await waiting)).toEqual({ seq: 2, json: ["2"], snapshot: true, end: true });
  });

  it("sends an empty snapshot when there is no state", async () => {
    const { next } = await stream(new StateBoard(1n, new HandClock()));
    await next();
    expect(short(await next())).toEqual({ seq: 2, json: [], snapshot: true, end: true });
  });

  it("sends nothing that the control-plane holds, but what changed since it was registered", async () => {
    const board = new StateBoard(1n, new HandClock());
    board.set("a", "1");
    board.set("b", "1");
    const held = board.entries();
    board.set("b", "2");
    const { next } = await stream(board, { held });
    expect(short(await next())).toEqual(HELLO);
    expect(short(await next())).toEqual({ seq: 2, json: ["2"], snapshot: false, end: false });
  });

  it("tells what is gone, what was held at the registration too, and what came back as it is", async () => {
    const board = new StateBoard(1n, new HandClock());
    for (const key of ["a", "b", "c"]) board.set(key, "1");
    const held = board.entries();
    board.delete("b");
    const { next } = await stream(board, { held });
    await next();
    expect((await next())?.entries).toMatchObject([{ key: "b", deleted: true, json: "" }]);
    board.delete("a");
    board.delete("c");
    board.set("c", "2");
    board.set("d", "1");
    board.delete("d");
    const changes = (await next())?.entries ?? [];
    expect(changes).toMatchObject([
      { key: "a", deleted: true },
      { key: "c", deleted: false, json: "2" },
    ]);
    const revisionOfA = held.find(({ key }) => key === "a")?.revision ?? 0n;
    expect((changes[0]?.revision ?? 0n) > revisionOfA).toBe(true);
    board.set("a", "1");
    const [back] = (await next())?.entries ?? [];
    expect((back?.revision ?? 0n) > (changes[0]?.revision ?? 0n)).toBe(true);
  });

  it("sends what changed in the order of the keys, whatever the order of the changes", async () => {
    const board = new StateBoard(1n, new HandClock());
    const { next } = await stream(board, { held: [] });
    await next();
    for (const key of ["ledger", "holds/a", "cluster"]) board.set(key, "1");
    expect((await next())?.entries.map(({ key }) => key)).toEqual(["cluster", "holds/a", "ledger"]);
  });

  it("sends events behind the snapshot, those that were there and those that come", async () => {
    const { next, outbox, sent } = await stream(new StateBoard(1n, new HandClock()));
    await outbox.add({ kind: "node_joined", key: "node/a", facts: { n: 1 } });
    await next();
    await next();
    const first = await next();
    expect(first?.events).toMatchObject([{ kind: "node_joined", key: "node/a", json: '{"n":1}' }]);
    const waiting = next();
    await outbox.add({ kind: "node_back", key: "node/a", facts: {} });
    expect((await waiting)?.events).toMatchObject([{ kind: "node_back" }]);
    expect(sent.map(({ events }) => events)).toEqual([0, 0, 1, 1]);
  });

  it("sends no events while they are held back, but state, and then the refused ones first", async () => {
    const board = new StateBoard(1n, new HandClock());
    const { next, outbox, eventHold, clock } = await stream(board, { held: [] });
    await next();
    await outbox.add({ kind: "node_joined", key: "node/a", facts: {} });
    const refused = await next();
    const waiting = next();
    outbox.release({ events: [], seqs: [1] });
    eventHold.refused("the disk is full");
    await outbox.add({ kind: "node_joined", key: "node/b", facts: {} });
    board.set("cluster", "1");
    expect(await waiting).toMatchObject({ entries: [{ json: "1" }], events: [] });
    clock.advance(1_000);
    expect((await next())?.events).toMatchObject([
      { eventId: refused?.events[0]?.eventId, key: "node/a" },
      { key: "node/b" },
    ]);
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
