import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import type { WebSocket } from "ws";
import { UnfinishedMessages } from "./unfinished-messages.ts";

const MIB = 1024 * 1024;

/** What the watch needs of a socket and the connection below it. */
class Connection extends EventEmitter {
  readonly OPEN = 1;
  readyState = 1;
  isPaused = false;
  bytesRead = 0;
  closed: [number, string] | undefined;

  close(code: number, why: string): void {
    this.readyState = 2;
    this.closed = [code, why];
  }

  terminate(): void {
    this.emit("close");
  }
}

function watched(count = 1) {
  const messages = new UnfinishedMessages();
  const connections = Array.from({ length: count }, () => new Connection());
  for (const connection of connections) {
    messages.watch(connection as unknown as WebSocket, connection);
  }
  return { messages, connections };
}

describe("UnfinishedMessages", () => {
  it("ends a socket whose message takes longer than a minute", () => {
    const { messages, connections } = watched();
    const [connection] = connections as [Connection];
    connection.bytesRead = 100;
    messages.sweep(0);
    messages.sweep(60_000);
    expect(connection.closed).toBeUndefined();
    messages.sweep(60_001);
    expect(connection.closed).toEqual([1008, "the message took too long"]);
  });

  it("takes answered pings for what they are, however long the socket is idle", () => {
    const { messages, connections } = watched();
    const [connection] = connections as [Connection];
    for (let nowMs = 0; nowMs < 10_000_000; nowMs += 20_000) {
      connection.bytesRead += 6;
      connection.emit("pong", Buffer.alloc(0));
      connection.bytesRead += 10;
      connection.emit("ping", Buffer.alloc(4));
      messages.sweep(nowMs);
    }
    expect(connection.closed).toBeUndefined();
  });

  it("is not fooled by pings between fragments", () => {
    const { messages, connections } = watched();
    const [connection] = connections as [Connection];
    for (let nowMs = 0; nowMs <= 61_000; nowMs += 1_000) {
      connection.bytesRead += 10;
      connection.bytesRead += 6;
      connection.emit("ping", Buffer.alloc(0));
      messages.sweep(nowMs);
    }
    expect(connection.closed?.[0]).toBe(1008);
  });

  it("does not hold against a client that the server itself does not read", () => {
    const { messages, connections } = watched();
    const [connection] = connections as [Connection];
    connection.bytesRead = 100;
    messages.sweep(0);
    connection.isPaused = true;
    messages.sweep(61_000);
    connection.isPaused = false;
    messages.sweep(62_000);
    expect(connection.closed).toBeUndefined();
  });

  it("ends the largest ones when all together hold too much", () => {
    const { messages, connections } = watched(20);
    for (const [index, connection] of connections.entries()) {
      connection.bytesRead = index === 7 ? 16 * MIB : 13 * MIB;
    }
    messages.sweep(0);
    const ended = connections.flatMap(({ closed }, index) => (closed === undefined ? [] : [index]));
    expect(ended).toEqual([7]);
  });
});
