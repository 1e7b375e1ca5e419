import { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { PassThrough } from "node:stream";
import { beforeEach, expect, it } from "vitest";
import { PipelinedRequests } from "./pipelined-requests.ts";

interface Taken {
  readonly name: string;
  answer(): void;
}

let requests: PipelinedRequests;
/** What the handler was given, in order. */
let handled: Taken[];

beforeEach(() => {
  handled = [];
  requests = new PipelinedRequests((request, response) => {
    handled.push({ name: request.url ?? "", answer: () => void response.emit("close") });
  });
});

function connection() {
  const socket = new PassThrough();
  const sent = { text: "" };
  socket.setEncoding("utf8").on("data", (piece: string) => {
    sent.text += piece;
  });
  return {
    socket,
    sent,
    take: (count: number, { complete = true } = {}) => {
      for (let index = 0; index < count; index += 1) {
        const request = { socket, complete, url: `${index}` } as unknown as IncomingMessage;
        const response = Object.assign(new EventEmitter(), { headersSent: false });
        requests.take(request, response as unknown as ServerResponse);
      }
    },
  };
}

const ended = (sockets: readonly { readonly socket: PassThrough }[]) =>
  sockets.filter(({ socket }) => socket.destroyed).length;
const oneTurn = () => new Promise((resolve) => setImmediate(resolve));

it("gives sixteen requests of a connection to the handler at a time, in their order", () => {
  connection().take(100);
  expect(handled).toHaveLength(16);
  handled[3]?.answer();
  expect(handled.map(({ name }) => name)).toEqual(Array.from({ length: 17 }, (_, n) => `${n}`));
});

it("answers 128, then says that more were too many", async () => {
  const { take, sent, socket } = connection();
  take(2_000);
  for (let index = 0; index < 127; index += 1) handled[index]?.answer();
  await oneTurn();
  expect(sent.text).toBe("");
  handled[127]?.answer();
  await oneTurn();
  expect(handled).toHaveLength(128);
  expect(sent.text).toMatch(/^HTTP\/1.1 429 .*"reason":"OVERLOADED"/s);
  await oneTurn();
  expect(socket.destroyed).toBe(true);
});

it("destroys a connection of which 2,000 requests are dropped", () => {
  const { take, socket } = connection();
  take(129 + 2_000);
  expect(socket.destroyed).toBe(false);
  take(1);
  expect(socket.destroyed).toBe(true);
});

it("keeps no more than 20,000 dropped requests of all connections", async () => {
  const many = Array.from({ length: 20 }, connection);
  for (const { take } of many) take(129 + 1_000);
  expect(ended(many)).toBe(0);
  const last = connection();
  last.take(130);
  expect(last.socket.destroyed).toBe(true);
  many[0]?.socket.destroy();
  await oneTurn();
  const next = connection();
  next.take(130);
  expect(next.socket.destroyed).toBe(false);
});

it("ends a connection once, when the replies to what has come whole have left", async () => {
  const { take, socket } = connection();
  const ends: string[] = [];
  take(2);
  take(1, { complete: false });
  requests.endWith(socket, () => ends.push("first"));
  requests.endWith(socket, () => ends.push("second"));
  handled[1]?.answer();
  expect(ends).toEqual([]);
  handled[0]?.answer();
  expect(ends).toEqual(["first"]);
  handled[2]?.answer();
  expect(ends).toEqual(["first"]);
});

it("ends a connection at once that waits for nothing", () => {
  const { socket } = connection();
  let isEnded = false;
  requests.endWith(socket, () => {
    isEnded = true;
  });
  expect(isEnded).toBe(true);
});
