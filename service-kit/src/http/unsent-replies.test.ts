import { afterEach, expect, it, vi } from "vitest";
import { UnsentReplies } from "./unsent-replies.ts";

function clients(maxBytes: number) {
  const replies = new UnsentReplies({ maxBytes });
  const ended: string[] = [];
  const keys = new Map(["a", "b", "c"].map((name) => [name, { name }]));
  const keyOf = (name: string) => keys.get(name) ?? {};
  /** What the connections have to send, and have sent. */
  const lines = new Map(["a", "b", "c"].map((name) => [name, { pending: 1, sent: 0 }]));
  const lineOf = (name: string) => lines.get(name) ?? { pending: 0, sent: 0 };
  const takerOf = (name: string) => ({
    departure: {
      pendingBytes: () => lineOf(name).pending,
      sentBytes: () => lineOf(name).sent,
    },
    end: () => void ended.push(name),
  });
  return {
    replies,
    ended,
    lineOf,
    send: (name: string, bytes: number) => replies.sending(keyOf(name), bytes, takerOf(name)),
    left: (name: string, bytes: number) => replies.left(keyOf(name), bytes),
    forget: (name: string) => replies.forget(keyOf(name)),
  };
}

it("ends the client that leaves most unread when all together leave too much", () => {
  const { replies, ended, send, left } = clients(100);
  send("a", 40);
  send("b", 30);
  send("b", 30);
  expect(ended).toEqual([]);
  send("c", 1);
  expect(ended).toEqual(["b"]);
  left("b", 30);
  left("b", 30);
  expect(replies.bytes).toBe(41);
});

it("forgets what has left", () => {
  const { replies, ended, send, left } = clients(100);
  for (let count = 0; count < 50; count += 1) {
    send("a", 60);
    send("b", 40);
    left("a", 60);
    left("b", 40);
  }
  expect(ended).toEqual([]);
  expect(replies.bytes).toBe(0);
});

it("ends a client whose single reply is too much, and owes nothing after", () => {
  const { replies, ended, send } = clients(100);
  send("a", 101);
  expect(ended).toEqual(["a"]);
  expect(replies.bytes).toBe(0);
});

it("forgets what a connection owed that has ended, once", () => {
  const { replies, send, left, forget } = clients(100);
  send("a", 60);
  send("b", 30);
  forget("a");
  forget("a");
  left("a", 60);
  expect(replies.bytes).toBe(30);
});

afterEach(() => void vi.useRealTimers());

it("ends a client of which no reply has left for a minute, and none that takes one now and then", () => {
  vi.useFakeTimers();
  const { replies, ended, send, left } = clients(100);
  for (let count = 0; count < 10; count += 1) send("a", 1);
  send("b", 10);
  for (let count = 0; count < 9; count += 1) {
    vi.advanceTimersByTime(50_000);
    left("a", 1);
  }
  expect(ended).toEqual(["b"]);
  expect(replies.bytes).toBe(1);
  left("a", 1);
  vi.advanceTimersByTime(600_000);
  expect(ended).toEqual(["b"]);
  send("a", 1);
  vi.advanceTimersByTime(60_000);
  expect(ended).toEqual(["b", "a"]);
});

it("keeps a client that takes a single reply slowly, and ends it when it takes no more", () => {
  vi.useFakeTimers();
  const { ended, send, lineOf } = clients(100);
  send("a", 50);
  for (let count = 0; count < 10; count += 1) {
    vi.advanceTimersByTime(59_000);
    lineOf("a").sent += 1;
    vi.advanceTimersByTime(1_000);
  }
  expect(ended).toEqual([]);
  vi.advanceTimersByTime(60_000);
  expect(ended).toEqual(["a"]);
});

it("holds nothing against a client whose reply waits for another of its connection", () => {
  vi.useFakeTimers();
  const { ended, send, lineOf } = clients(100);
  lineOf("a").pending = 0;
  send("a", 50);
  vi.advanceTimersByTime(600_000);
  expect(ended).toEqual([]);
  lineOf("a").pending = 50;
  vi.advanceTimersByTime(60_000);
  expect(ended).toEqual(["a"]);
});
