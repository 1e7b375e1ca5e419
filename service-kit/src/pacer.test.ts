import { describe, expect, it } from "vitest";
import { Pacer } from "./pacer.ts";

const never = new AbortController().signal;

/** Keeps the event loop busy for so long. */
function busy(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

/** Turns of the event loop until the work is done, and the longest of them in ms. */
async function turnsDuring(work: Promise<unknown>): Promise<{ turns: number; longestMs: number }> {
  let done = false;
  const ended = work.finally(() => {
    done = true;
  });
  let turns = 0;
  let longestMs = 0;
  while (!done) {
    const begunAt = performance.now();
    await new Promise((resolve) => setImmediate(resolve));
    turns += 1;
    longestMs = Math.max(longestMs, performance.now() - begunAt);
  }
  await ended;
  return { turns, longestMs };
}

function* visits<T>(items: Iterable<T>, visit: (item: T) => void): Generator<void, void> {
  for (const item of items) {
    visit(item);
    yield;
  }
}

/** Visits every item in order as one work. */
function each<T>(pacer: Pacer, items: Iterable<T>, visit: (item: T) => void, signal: AbortSignal) {
  return pacer.run(visits(items, visit), signal);
}

describe("Pacer", () => {
  it("visits every item in its order", async () => {
    const seen: number[] = [];
    await each(new Pacer(), [1, 2, 3], (item) => seen.push(item), never);
    expect(seen).toEqual([1, 2, 3]);
  });

  it("does a short work at once", () => {
    const seen: number[] = [];
    void each(new Pacer(), [1, 2, 3], (item) => seen.push(item), never);
    expect(seen).toEqual([1, 2, 3]);
  });

  it("lets others have their turn while a work takes long", async () => {
    const items = Array.from({ length: 60 }, (_, n) => n);
    const work = each(new Pacer(), items, () => busy(2), never);
    expect((await turnsDuring(work)).turns).toBeGreaterThan(8);
  });

  it("goes on with one of several long works per turn", async () => {
    const pacer = new Pacer();
    const works = Array.from({ length: 10 }, () => each(pacer, [1, 2, 3], () => busy(8), never));
    const { turns } = await turnsDuring(Promise.all(works));
    expect(turns).toBeGreaterThanOrEqual(20);
  });

  it("runs a work that pauses, and gives what it came to", async () => {
    function* long(): Generator<void, string> {
      for (let piece = 0; piece < 60; piece += 1) {
        busy(1);
        yield;
      }
      return "done";
    }
    const work = new Pacer().run(long(), never);
    expect((await turnsDuring(work)).turns).toBeGreaterThan(4);
    expect(await work).toBe("done");
  });

  it("ends a work that nobody waits for any more", async () => {
    const gone = new AbortController();
    let visited = 0;
    const visit = () => {
      visited += 1;
      busy(9);
    };
    const work = each(new Pacer(), [1, 2, 3, 4], visit, gone.signal);
    gone.abort();
    await expect(work).rejects.toThrow("aborted");
    expect(visited).toBe(1);
  });
});
