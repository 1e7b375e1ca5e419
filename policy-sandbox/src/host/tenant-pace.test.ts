import { expect, test } from "vitest";
import { TenantPace } from "./tenant-pace.ts";

function paceAt() {
  const clock = { nowMs: 0 };
  const pace = new TenantPace(() => clock.nowMs);
  return {
    pace,
    clock,
    runs: (count: number) => {
      for (let run = 0; run < count; run += 1) pace.noteQuick("a");
    },
    slow: () => {
      pace.noteSlow("a");
      pace.noteSlowEnd("a");
    },
    seen: () => {
      pace.noteAsked("a");
      return { slow: pace.isSlow("a"), quick: pace.isQuick("a") };
    },
  };
}

test("a tenant that nobody has seen is neither slow nor quick", () => {
  expect(paceAt().seen()).toEqual({ slow: false, quick: false });
});

test("one slow run of a quick tenant may be the machine's doing, the second is its own", () => {
  const { runs, slow, seen } = paceAt();
  runs(1);
  slow();
  expect(seen()).toEqual({ slow: false, quick: true });
  runs(15);
  slow();
  expect(seen()).toEqual({ slow: true, quick: false });
});

test("a tenant that is late each time is slow, however cold its workers are", () => {
  const { pace, runs, seen } = paceAt();
  for (let run = 0; run < 3; run += 1) pace.noteLateEnd("a");
  expect(seen()).toEqual({ slow: false, quick: false });
  pace.noteLateEnd("a");
  expect(seen()).toEqual({ slow: true, quick: false });
  runs(16);
  expect(seen()).toEqual({ slow: false, quick: true });
});

test("a quick run in between excuses two late ones again", () => {
  const { pace, runs, seen } = paceAt();
  for (let round = 0; round < 10; round += 1) {
    pace.noteLateEnd("a");
    pace.noteLateEnd("a");
    runs(1);
  }
  expect(seen()).toEqual({ slow: false, quick: true });
});

test("16 quick runs in a row make up for all slow ones", () => {
  const { runs, slow, seen } = paceAt();
  slow();
  slow();
  runs(15);
  expect(seen()).toEqual({ slow: true, quick: false });
  runs(1);
  expect(seen()).toEqual({ slow: false, quick: true });
  slow();
  expect(seen()).toEqual({ slow: false, quick: true });
});

test("a tenant that is asked again 10 s after its last slow run has ended is as unknown as at first", () => {
  const { pace, clock, slow, seen } = paceAt();
  slow();
  pace.noteSlow("a");
  clock.nowMs = 60_000;
  pace.noteSlowEnd("a");
  clock.nowMs += 9_999;
  expect(seen()).toEqual({ slow: true, quick: false });
  clock.nowMs += 1;
  expect(pace.isSlow("a")).toBe(true);
  expect(seen()).toEqual({ slow: false, quick: false });
});

test("a tenant that was not slow stays quick however seldom it is asked", () => {
  const { clock, runs, seen } = paceAt();
  runs(1);
  clock.nowMs = 1e9;
  expect(seen()).toEqual({ slow: false, quick: true });
});
