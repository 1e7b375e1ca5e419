import { expect, it } from "vitest";
import { UnsentReplies } from "./unsent-replies.ts";

function clients(maxBytes: number) {
  const replies = new UnsentReplies(maxBytes);
  const ended: string[] = [];
  const keys = new Map(["a", "b", "c"].map((name) => [name, { name }]));
  const keyOf = (name: string) => keys.get(name) ?? {};
  return {
    replies,
    ended,
    send: (name: string, bytes: number) =>
      replies.sending(keyOf(name), bytes, () => void ended.push(name)),
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
