import { expect, test } from "vitest";
import type { Refusal } from "./pool-task.ts";
import { Turns, type Waiting } from "./turns.ts";

const LIMITS = { maxRunning: 4, maxPerTenant: 3, maxQueued: 3 };

interface Waiter extends Waiting {
  refused: Refusal | null;
}

function waiter(tenant: string, runsAlone: () => boolean = () => false): Waiter {
  const made: Waiter = {
    tenant,
    runsAlone,
    refused: null,
    refuse: (refusal) => {
      made.refused = refusal;
    },
  };
  return made;
}

function started(turns: Turns<Waiter>, tenant: string): number {
  let count = 0;
  while (turns.mayStart(tenant)) {
    turns.start(tenant);
    count += 1;
  }
  return count;
}

test("one tenant takes at most its share of the places, all together no more than there are", () => {
  const turns = new Turns<Waiter>({ ...LIMITS, maxQueued: 100 });
  for (let count = 0; count < 5; count += 1) {
    turns.add(waiter("a"));
    turns.add(waiter("b"));
  }
  expect(started(turns, "a")).toBe(3);
  expect(started(turns, "b")).toBe(1);
  expect({ running: turns.running, queued: turns.queued }).toEqual({ running: 4, queued: 6 });
  turns.end("a");
  expect(started(turns, "a")).toBe(1);
  expect(turns.mayStart("c")).toBe(false);
});

test("what runs alone waits until nothing of its tenant runs, and what is behind it waits too", () => {
  const turns = new Turns<Waiter>(LIMITS);
  for (const alone of [false, true, false]) turns.add(waiter("a", () => alone));
  expect(started(turns, "a")).toBe(1);
  turns.add(waiter("b", () => true));
  expect(started(turns, "b")).toBe(1);
  turns.end("a");
  expect(turns.mayStart("a")).toBe(true);
  expect(turns.start("a")?.runsAlone()).toBe(true);
});

test("whether something runs alone is asked when its turn has come", () => {
  const turns = new Turns<Waiter>(LIMITS);
  let alone = true;
  for (let count = 0; count < 3; count += 1) turns.add(waiter("a", () => alone));
  expect(started(turns, "a")).toBe(1);
  alone = false;
  expect(started(turns, "a")).toBe(2);
});

test("a full queue refuses the newest of the tenant that has most waiting, not the newcomer", () => {
  const turns = new Turns<Waiter>(LIMITS);
  const many = [waiter("a"), waiter("a"), waiter("a")];
  const [first, second, third] = many;
  for (const one of many) turns.add(one);
  turns.trim("a");
  const newcomer = waiter("b");
  turns.add(newcomer);
  turns.trim("b");
  expect(third?.refused).toEqual({
    kind: "overloaded",
    message: "3 evaluations are waiting already",
  });
  expect([first?.refused, second?.refused, newcomer.refused]).toEqual([null, null, null]);
  expect(turns.queued).toBe(3);
});

test("a full queue refuses the newcomer when its own tenant has most waiting, or as many", () => {
  const turns = new Turns<Waiter>(LIMITS);
  for (const tenant of ["a", "a", "b"]) turns.add(waiter(tenant));
  for (const tenant of ["a", "b"]) {
    const newcomer = waiter(tenant);
    turns.add(newcomer);
    turns.trim(tenant);
    expect(newcomer.refused?.kind).toBe("overloaded");
  }
  expect(turns.queued).toBe(3);
});

test("who leaves is not started, and is not refused", () => {
  const turns = new Turns<Waiter>(LIMITS);
  const gone = waiter("a");
  turns.add(gone);
  expect(turns.leave(gone)).toBe(true);
  expect(turns.leave(gone)).toBe(false);
  expect(turns.start("a")).toBeUndefined();
  expect(turns.running).toBe(0);
  turns.refuse(() => ({ kind: "canceled" }));
  expect(gone.refused).toBeNull();
});

test("those who wait are refused one by one, as is said of each", () => {
  const turns = new Turns<Waiter>(LIMITS);
  const [one, other] = [waiter("a"), waiter("b")];
  turns.add(one);
  turns.add(other);
  turns.refuse(({ tenant }) => (tenant === "a" ? { kind: "canceled" } : null));
  expect([one.refused, other.refused]).toEqual([{ kind: "canceled" }, null]);
  expect(turns.queued).toBe(1);
});
