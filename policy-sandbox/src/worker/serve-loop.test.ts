import { expect, test } from "vitest";
import { serveTurns, type Turns } from "./serve-loop.ts";
import { WatchdogError } from "./watchdog.ts";

const cell = new Int32Array(new SharedArrayBuffer(4));

class Stop extends Error {}

/** Turns that count themselves and end the loop after the third. */
function threeTurns(wait: Turns["wait"]): { turns: Turns; count: () => number } {
  let count = 0;
  const take = () => {
    count += 1;
    if (count === 3) throw new Stop("enough");
  };
  return { turns: { wait, take, isShort }, count: () => count };
}

const isShort = (bell: number) => bell === 1;

const ring: Turns["wait"] = (bell) => {
  bell[0] = 1;
};

test("turn after turn is taken until one throws", () => {
  const { turns, count } = threeTurns(ring);
  expect(() => serveTurns(turns, { sessionMs: 10_000, turnMs: 1_000 })).toThrow(Stop);
  expect(count()).toBe(3);
});

test("a turn that does not end is stopped, whatever it catches", () => {
  const stubborn = () => {
    for (;;) {
      try {
        for (;;) {
          // spins until the watchdog comes
        }
      } catch {}
    }
  };
  const startedAt = performance.now();
  const turns = { wait: ring, take: stubborn, isShort };
  expect(() => serveTurns(turns, { sessionMs: 300, turnMs: 200 })).toThrow(WatchdogError);
  expect(performance.now() - startedAt).toBeLessThan(5_000);
});

test("waiting for longer than a session is not an error", () => {
  const { turns, count } = threeTurns((bell) => {
    Atomics.wait(cell, 0, 0, 150);
    bell[0] = 1;
  });
  expect(() => serveTurns(turns, { sessionMs: 100, turnMs: 50 })).toThrow(Stop);
  expect(count()).toBe(3);
});

test("a turn that came while its session ended is taken in the next one, once", () => {
  let waits = 0;
  const { turns, count } = threeTurns((bell) => {
    waits += 1;
    bell[0] = 1;
    // The byte is there, and the thread is stopped before it can say so.
    if (waits === 2) for (;;) Atomics.wait(cell, 0, 0, 10);
  });
  expect(() => serveTurns(turns, { sessionMs: 200, turnMs: 100 })).toThrow(Stop);
  expect(count()).toBe(3);
  expect(waits).toBe(3);
});

test("a long turn is not stopped by a session, and short ones go on after it", () => {
  const taken: number[] = [];
  const turns: Turns = {
    isShort,
    wait: (bell) => {
      bell[0] = taken.length === 1 ? 2 : 1;
    },
    take: (bell) => {
      taken.push(bell);
      if (bell === 2) Atomics.wait(cell, 0, 0, 250);
      if (taken.length === 4) throw new Stop("enough");
    },
  };
  expect(() => serveTurns(turns, { sessionMs: 100, turnMs: 50 })).toThrow(Stop);
  expect(taken).toEqual([1, 2, 1, 1]);
});
