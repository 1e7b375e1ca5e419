import { EventEmitter } from "node:events";
import { type BerthError, RequestBudget } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { WebSocket } from "ws";
import { Inbox, MAX_IN_FLIGHT } from "./inbox.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** What the inbox needs of a socket. */
class Socket extends EventEmitter {
  isPaused = false;
  bufferedAmount = 0;

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }
}

interface Begun {
  readonly bytes: number;
  readonly refusal: BerthError | undefined;
  end(): Promise<void>;
}

function client(budget: RequestBudget) {
  const socket = new Socket();
  const begun: Begun[] = [];
  new Inbox(socket as unknown as WebSocket, budget, () => (message, refusal) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const end = async () => {
      resolve();
      for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
    };
    begun.push({ bytes: message.length, refusal, end });
    return promise;
  });
  const send = (...sizes: readonly number[]) => {
    for (const bytes of sizes) socket.emit("message", Buffer.alloc(bytes));
  };
  return { socket, begun, send };
}

describe("Inbox", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("works on a bounded number of messages at a time, and reads no more meanwhile", async () => {
    const { socket, begun, send } = client(new RequestBudget());
    send(...Array<number>(MAX_IN_FLIGHT + 1).fill(10));
    expect(begun).toHaveLength(MAX_IN_FLIGHT);
    expect(socket.isPaused).toBe(true);
    for (const { end } of begun.slice(0, 2)) await end();
    expect(begun).toHaveLength(MAX_IN_FLIGHT + 1);
    expect(socket.isPaused).toBe(false);
  });

  it("works on a quarter of what all may hold for one socket", async () => {
    const budget = new RequestBudget();
    const { begun, send } = client(budget);
    send(10 * MIB, 10 * MIB);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(begun).toHaveLength(1);
    expect(budget.usedBytes).toBe(10 * MIB);
    await begun[0]?.end();
    expect(begun.map(({ refusal }) => refusal)).toEqual([undefined, undefined]);
  });

  it("lets no other socket wait for one that sends many middling requests", async () => {
    const budget = new RequestBudget();
    const hog = client(budget);
    hog.send(...Array<number>(16).fill(1_000_000));
    expect(hog.begun).toHaveLength(4);
    expect(hog.socket.isPaused).toBe(true);
    const other = client(budget);
    other.send(100 * KIB);
    expect(other.begun).toHaveLength(1);
  });

  it("reads and begins messages of other sizes while a large one waits for its share", async () => {
    const budget = new RequestBudget();
    const held = budget.tryHold(48 * MIB);
    const { begun, send, socket } = client(budget);
    send(2 * MIB);
    expect(socket.isPaused).toBe(false);
    send(10, 100 * KIB);
    expect(begun.map(({ bytes }) => bytes)).toEqual([10, 100 * KIB]);
    send(2 * MIB);
    expect(socket.isPaused).toBe(true);
    held?.release();
    await vi.advanceTimersByTimeAsync(0);
    expect(begun.map(({ bytes }) => bytes)).toEqual([10, 100 * KIB, 2 * MIB, 2 * MIB]);
    expect(socket.isPaused).toBe(false);
  });

  it("keeps a place for a message that others have passed, whose replies may wait for its own", async () => {
    const { begun, send } = client(new RequestBudget());
    send(...Array<number>(5).fill(1_000_000), ...Array<number>(100).fill(10));
    expect(begun).toHaveLength(MAX_IN_FLIGHT - 1);
    for (const { end } of begun.slice(0, 4)) await end();
    expect(begun.filter(({ bytes }) => bytes === 1_000_000)).toHaveLength(5);
    expect(begun).toHaveLength(MAX_IN_FLIGHT + 4);
  });

  it("begins nothing while the client leaves more than 4 MiB of replies unread", async () => {
    const { socket, begun, send } = client(new RequestBudget());
    send(10, 10);
    socket.bufferedAmount = 5 * MIB;
    send(10, 10);
    expect(begun).toHaveLength(2);
    expect(socket.isPaused).toBe(true);
    await begun[0]?.end();
    expect(begun).toHaveLength(2);
    socket.bufferedAmount = MIB;
    await begun[1]?.end();
    expect(begun).toHaveLength(4);
    expect(socket.isPaused).toBe(false);
  });

  it("lets no other socket wait for one that sends large requests, unless it sends such, too", async () => {
    const budget = new RequestBudget();
    const hogs = Array.from({ length: 4 }, () => client(budget));
    for (const { send } of hogs) send(16 * MIB, 16 * MIB);
    const middling = client(budget);
    middling.send(100 * KIB);
    expect(middling.begun).toHaveLength(1);
    const large = client(budget);
    large.send(2 * MIB);
    expect(hogs.map(({ begun }) => begun.length)).toEqual([1, 1, 1, 0]);
    expect(large.begun).toHaveLength(0);
    await hogs[0]?.begun[0]?.end();
    // The other hog's first has waited for longer; the first hog's second comes last.
    expect(hogs.map(({ begun }) => begun.length)).toEqual([1, 1, 1, 1]);
    await hogs[1]?.begun[0]?.end();
    expect(large.begun).toMatchObject([{ refusal: undefined }]);
  });

  it("answers in a few seconds who gets no share, and goes on", async () => {
    const budget = new RequestBudget();
    const held = budget.tryHold(48 * MIB);
    const { begun, send, socket } = client(budget);
    send(2 * MIB, 10);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(begun.map(({ bytes, refusal }) => [bytes, refusal?.reason])).toEqual([
      [10, undefined],
      [2 * MIB, "OVERLOADED"],
    ]);
    expect(socket.isPaused).toBe(false);
    held?.release();
    for (const { end } of begun) await end();
    expect(budget.usedBytes).toBe(0);
  });

  it("takes no share for a socket that has closed", async () => {
    const budget = new RequestBudget();
    const held = budget.tryHold(48 * MIB);
    const { begun, send, socket } = client(budget);
    send(2 * MIB, 2 * MIB);
    socket.emit("close");
    await vi.advanceTimersByTimeAsync(5_000);
    held?.release();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(begun).toHaveLength(0);
    expect(budget.usedBytes).toBe(0);
  });
});
