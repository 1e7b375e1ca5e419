import { Pacer } from "@berth/service-kit";
import { describe, expect, it, vi } from "vitest";
import { FilterTurns } from "./filter-turns.ts";

const never = new AbortController().signal;
const LIMITS = { underWay: 2, waiting: 3, waitMs: 60_000 };

/** A work that is not quick, and goes on until it is let go. */
class Slow {
  isBegun = false;
  isLetGo = false;

  *run(): Generator<void, string> {
    const until = performance.now() + 12;
    while (performance.now() < until) yield;
    while (!this.isLetGo) {
      this.isBegun = true;
      const pieceUntil = performance.now() + 10;
      while (performance.now() < pieceUntil);
      yield;
    }
    return "done";
  }
}

const slowOnes = (count: number) => Array.from({ length: count }, () => new Slow());

describe("FilterTurns", () => {
  it("does a quick work at once, however many others wait", async () => {
    const turns = new FilterTurns(new Pacer(), LIMITS);
    const others = slowOnes(5);
    const works = others.map((slow) => turns.run(slow.run(), never));
    // biome-ignore lint/correctness/useYield: it is done before it would pause.
    const quick = function* () {
      return 7;
    };
    expect(await turns.run(quick(), never)).toBe(7);
    for (const slow of others) slow.isLetGo = true;
    expect(await Promise.all(works)).toEqual(Array(5).fill("done"));
  });

  it("goes on with a few at a time, in their order, and with the next when one has ended", async () => {
    const turns = new FilterTurns(new Pacer(), LIMITS);
    const works = slowOnes(4);
    const done = works.map((slow) => turns.run(slow.run(), never));
    const begun = () => works.map(({ isBegun }) => isBegun);
    await vi.waitFor(() => expect(begun()).toEqual([true, true, false, false]), 5_000);
    for (const slow of works.slice(0, 1)) slow.isLetGo = true;
    await done[0];
    await vi.waitFor(() => expect(begun()).toEqual([true, true, true, false]), 5_000);
    for (const slow of works) slow.isLetGo = true;
    expect(await Promise.all(done)).toEqual(Array(4).fill("done"));
  });

  it("refuses what comes on top of those that wait, and goes on to serve", async () => {
    const turns = new FilterTurns(new Pacer(), LIMITS);
    const works = slowOnes(5);
    const done = works.map((slow) => turns.run(slow.run(), never));
    await expect(turns.run(new Slow().run(), never)).rejects.toMatchObject({
      reason: "OVERLOADED",
      message: expect.stringMatching(/^filter: /),
    });
    for (const slow of works) slow.isLetGo = true;
    expect(await Promise.all(done)).toEqual(Array(5).fill("done"));
    const next = new Slow();
    next.isLetGo = true;
    expect(await turns.run(next.run(), never)).toBe("done");
  });

  it("gives up what has waited too long, and what nobody waits for any more", async () => {
    const turns = new FilterTurns(new Pacer(), { ...LIMITS, underWay: 1, waitMs: 30 });
    const first = new Slow();
    const gone = new AbortController();
    const works = [first, new Slow(), new Slow()].map((slow, at) =>
      turns.run(slow.run(), at === 2 ? gone.signal : never),
    );
    gone.abort(new Error("gone"));
    await expect(works[2]).rejects.toThrow("gone");
    await expect(works[1]).rejects.toMatchObject({ reason: "OVERLOADED" });
    first.isLetGo = true;
    expect(await works[0]).toBe("done");
    const next = new Slow();
    next.isLetGo = true;
    expect(await turns.run(next.run(), never)).toBe("done");
  });

  it("begins nothing for a caller that has gone", async () => {
    const turns = new FilterTurns(new Pacer(), { ...LIMITS, underWay: 1 });
    const first = new Slow();
    const running = turns.run(first.run(), never);
    const aborted = AbortSignal.abort(new Error("gone"));
    await expect(turns.run(new Slow().run(), aborted)).rejects.toThrow("gone");
    first.isLetGo = true;
    expect(await running).toBe("done");
  });
});
