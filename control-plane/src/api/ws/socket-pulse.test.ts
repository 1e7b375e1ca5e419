import { describe, expect, it } from "vitest";
import { SocketPulse } from "./socket-pulse.ts";

function connection() {
  const done: string[] = [];
  const socket = {
    isPaused: false,
    ping: () => done.push("ping"),
    terminate: () => done.push("terminate"),
  };
  const stream = { bytesRead: 100 };
  const pending = { bytes: 0 };
  const pulse = new SocketPulse();
  pulse.watch(socket as never, { stream, departure: { pendingBytes: () => pending.bytes } });
  return { socket, stream, pending, done, tick: () => pulse.ping([socket as never]) };
}

describe("SocketPulse", () => {
  it("ends a socket of which nothing came between two pings, and not before", () => {
    const { tick, done } = connection();
    tick();
    expect(done).toEqual(["ping"]);
    tick();
    expect(done).toEqual(["ping", "terminate"]);
  });

  it("keeps a socket in the middle of a message that takes several pings to arrive", () => {
    const { tick, stream, done } = connection();
    for (let second = 0; second < 5; second += 1) {
      stream.bytesRead += 65_536;
      tick();
    }
    expect(done).toEqual(Array(5).fill("ping"));
  });

  it("holds silence against nobody while the socket is paused", () => {
    const { tick, socket, done } = connection();
    tick();
    socket.isPaused = true;
    tick();
    tick();
    socket.isPaused = false;
    tick();
    expect(done).toEqual(["ping", "ping"]);
    tick();
    expect(done).toEqual(["ping", "ping", "terminate"]);
  });

  it("holds silence against nobody whose pings stand behind replies that have not left", () => {
    const { tick, pending, done } = connection();
    tick();
    pending.bytes = 1_000_000;
    tick();
    tick();
    expect(done).toEqual(["ping"]);
    pending.bytes = 0;
    tick();
    expect(done).toEqual(["ping", "ping"]);
  });
});
