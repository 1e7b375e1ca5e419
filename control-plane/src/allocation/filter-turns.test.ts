import { describe, expect, it, vi } from "vitest";
import { FilterTurns } from "./filter-turns.ts";

const never = new AbortController().signal;
const LIMITS = { underWay: 2, waiting: 3, waitMs: 60_000 };

const PIECE_MS = 0.5;

/** Pieces of half a ms: on a busy machine they take longer, and fewer of them make a turn. */
function* pieces(count: number): Generator<void> {
  for (let done = 0; done < count; done += 1) {
    const pieceUntil = performance.now() + PIECE_MS;
    while (performance.now() < pieceUntil);
    yield;
  }
}

/** A work that is not quick, and goes on until it is let go. */
class Slow {
  isBegun = false;
  isLetGo = false;

  *run(): Generator<void, string> {
    yield* pieces(24);
    while (!this.isLetGo) {
      this.isBegun = true;
      const pieceUntil = performance.now() + 10;
      while (performance.now() < pieceUntil);
      yield;
    }
    return "done";
  }
}

/** A work that takes so many ms, in short pieces, and tells how many of its pieces were done. */
class Timed {
  pieces = 0;
  readonly #totalMs: number;

  constructor(totalMs: number) {
    this.#totalMs = totalMs;
  }

  *run(): Generator<void, number> {
    for (const _ of pieces(this.#totalMs / PIECE_MS)) {
      this.pieces += 1;
      yield;
    }
    return this.pieces;
  }
}

/** Turns of the loop until a promise is settled. */
async function turnsUntil(promise: Promise<unknown>): Promise<number> {
  let isSettled = false;
  let turns = 0;
  const done = promise.finally(() => {
    isSettled = true;
  });
  while (!isSettled) {
    await new Promise((resolve) => setImmediate(resolve));
    turns += 1;
  }
  await done;
  return turns;
}

const slowOnes = (count: number) => Array.from({ length: count }, () => new Slow());

describe("FilterTurns", () => {
  it("does a quick work soon, however many others take long", async () => {
    const turns = new FilterTurns({ ...LIMITS, waiting: 4 });
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
    const turns = new FilterTurns(LIMITS);
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
    const turns = new FilterTurns(LIMITS);
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

  it("lets others have the loop while many filters come at once", async () => {
    const turns = new FilterTurns({ ...LIMITS, underWay: 8, waiting: 100 });
    const works = Array.from({ length: 60 }, () => new Timed(10));
    const done = works.map((work) => turns.run(work.run(), never));
    const doneAtOnce = works.reduce((sum, { pieces }) => sum + pieces, 0);
    expect(doneAtOnce * PIECE_MS).toBeLessThan(30);
    // 600 ms of work: no turn has much more than the 8 ms that all of them share.
    expect(await turnsUntil(Promise.all(done))).toBeGreaterThan(30);
    expect(works.map(({ pieces }) => pieces)).toEqual(Array(60).fill(20));
  });

  it("lets others have the loop while many waiting ones end quickly, one after the other", async () => {
    const turns = new FilterTurns({ ...LIMITS, underWay: 1, waiting: 100 });
    const works = Array.from({ length: 60 }, () => new Timed(15));
    const done = works.map((work) => turns.run(work.run(), never));
    // 900 ms of work.
    expect(await turnsUntil(Promise.all(done))).toBeGreaterThan(45);
  });

  it("does no work for what it refuses", async () => {
    const turns = new FilterTurns(LIMITS);
    const works = slowOnes(5);
    const done = works.map((slow) => turns.run(slow.run(), never));
    const refused = Array.from({ length: 50 }, () => new Timed(20));
    const answers = await Promise.allSettled(refused.map((work) => turns.run(work.run(), never)));
    expect(answers.every(({ status }) => status === "rejected")).toBe(true);
    expect(refused.map(({ pieces }) => pieces)).toEqual(Array(50).fill(0));
    for (const slow of works) slow.isLetGo = true;
    expect(await Promise.all(done)).toEqual(Array(5).fill("done"));
  });

  it("gives back the place of what throws", async () => {
    const turns = new FilterTurns({ ...LIMITS, underWay: 1, waiting: 0 });
    const failing = function* () {
      yield* new Timed(12).run();
      throw new Error("bad filter");
    };
    await expect(turns.run(failing(), never)).rejects.toThrow("bad filter");
    expect(await turns.run(new Timed(12).run(), never)).toBe(24);
  });

  it("gives back the place of what nobody waits for any more", async () => {
    const turns = new FilterTurns({ ...LIMITS, underWay: 1, waiting: 0 });
    const gone = new AbortController();
    const slow = new Slow();
    const running = turns.run(slow.run(), gone.signal);
    await vi.waitFor(() => expect(slow.isBegun).toBe(true), 5_000);
    gone.abort(new Error("gone"));
    await expect(running).rejects.toThrow("gone");
    expect(await turns.run(new Timed(12).run(), never)).toBe(24);
  });

  it("gives up what has waited too long, and what nobody waits for any more", async () => {
    const turns = new FilterTurns({ ...LIMITS, underWay: 1, waitMs: 200 });
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
    const turns = new FilterTurns({ ...LIMITS, underWay: 1 });
    const first = new Slow();
    const running = turns.run(first.run(), never);
    const aborted = AbortSignal.abort(new Error("gone"));
    await expect(turns.run(new Slow().run(), aborted)).rejects.toThrow("gone");
    first.isLetGo = true;
    expect(await running).toBe("done");
  });
});
