import { silentLogger } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { TermStretches } from "./term-stretches.ts";

let begun: number;
let told: number;
let isWorthwhile: boolean;
let begin: () => Promise<void>;
let stretches: TermStretches;

beforeEach(() => {
  vi.useFakeTimers();
  [begun, told, isWorthwhile] = [0, 0, true];
  begin = async () => {
    begun += 1;
  };
  stretches = new TermStretches({
    begin: () => begin(),
    tell: () => {
      told += 1;
    },
    isWorthwhile: () => isWorthwhile,
    logger: silentLogger,
  });
});
afterEach(async () => {
  await stretches.stop();
  vi.useRealTimers();
});

describe("TermStretches", () => {
  it("begins one with each write, and tells agents once a second at most, and of the last", async () => {
    await stretches.advance();
    expect([begun, told]).toEqual([1, 1]);
    for (let writes = 0; writes < 100; writes += 1) await stretches.advance();
    expect([begun, told]).toEqual([101, 1]);
    await vi.advanceTimersByTimeAsync(999);
    expect(told).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(told).toBe(2);
    await vi.advanceTimersByTimeAsync(10_000);
    expect([begun, told]).toEqual([101, 2]);
  });

  it("begins one more for all who write while one is being written, never for who came later", async () => {
    const disk = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    begin = () => disk[begun++]?.promise ?? Promise.resolve();
    const ends: string[] = [];
    const write = (name: string) => stretches.advance().then(() => ends.push(name));
    const first = write("first");
    await vi.advanceTimersByTimeAsync(0);
    const rest = [write("second"), write("third")];
    await vi.advanceTimersByTimeAsync(0);
    expect([begun, told, ends]).toEqual([1, 0, []]);
    disk[0]?.resolve();
    await first;
    await vi.advanceTimersByTimeAsync(0);
    expect([begun, ends]).toEqual([2, ["first"]]);
    disk[1]?.resolve();
    await Promise.all(rest);
    expect([begun, ends]).toEqual([2, ["first", "second", "third"]]);
  });

  it("begins one every minute, while there is somebody to tell", async () => {
    stretches.start();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(begun).toBe(2);
    isWorthwhile = false;
    await vi.advanceTimersByTimeAsync(120_000);
    expect(begun).toBe(2);
  });

  it("goes on after a failure, of which nobody is told", async () => {
    begin = () => Promise.reject(new Error("disk full"));
    await stretches.advance();
    expect(told).toBe(0);
    begin = async () => {
      begun += 1;
    };
    await vi.advanceTimersByTimeAsync(1_000);
    await stretches.advance();
    expect([begun, told]).toEqual([1, 1]);
  });

  it("begins none once it is stopped", async () => {
    stretches.start();
    await stretches.advance();
    await stretches.advance();
    await stretches.stop();
    await stretches.advance();
    await vi.advanceTimersByTimeAsync(120_000);
    expect([begun, told]).toEqual([2, 1]);
  });
});
