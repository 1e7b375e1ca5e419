import { describe, expect, test } from "vitest";
import type { Refusal } from "./pool-task.ts";
import { type Turn, Turns, type Waiting } from "./turns.ts";

const MIB = 1024 * 1024;
const LIMITS = {
  ...{ maxRunning: 4, maxPerTenant: 3, maxSlow: 4, maxLate: 4 },
  ...{ maxQueued: 3, maxQueuedBytes: 100 * MIB },
};

interface Waiter extends Waiting {
  refused: Refusal | null;
}

function waiter(tenant: string, runsAlone: () => boolean = () => false, bytes = 10): Waiter {
  const made: Waiter = {
    tenant,
    bytes,
    runsAlone,
    refused: null,
    refuse: (refusal) => {
      made.refused = refusal;
    },
  };
  return made;
}

function startAll(turns: Turns<Waiter>, tenant: string): Turn[] {
  const started: Turn[] = [];
  while (turns.mayStart(tenant)) started.push(startNext(turns, tenant));
  return started;
}

function startNext(turns: Turns<Waiter>, tenant: string): Turn {
  const turn = turns.start(tenant)?.turn;
  if (turn === undefined) throw new Error(`${tenant} has nothing waiting`);
  return turn;
}

/** Lets a tenant have runs that are over soon. */
function runQuick(turns: Turns<Waiter>, tenant: string, runs = 1): void {
  for (let run = 0; run < runs; run += 1) {
    turns.add(waiter(tenant));
    turns.end(startNext(turns, tenant));
  }
}

/** Lets a tenant have one run that is slow all through. */
function runSlow(turns: Turns<Waiter>, tenant: string): Turn {
  turns.add(waiter(tenant));
  const turn = startNext(turns, tenant);
  turns.noteSlow(turn);
  return turn;
}

test("tenants that are known to be quick and always have something waiting leave others their turn", () => {
  const turns = new Turns<Waiter>({ ...LIMITS, maxRunning: 2, maxPerTenant: 1, maxQueued: 100 });
  for (const tenant of ["a", "b", "c"]) runQuick(turns, tenant);
  for (const tenant of ["a", "b", "c"])
    for (let one = 0; one < 9; one += 1) turns.add(waiter(tenant));
  turns.add(waiter("new"));
  const served: string[] = [];
  const under: Turn[] = [];
  for (let round = 0; round < 12; round += 1) {
    const next = turns.tenants().find((tenant) => turns.mayStart(tenant));
    if (next === undefined) {
      const first = under.shift();
      if (first !== undefined) turns.end(first);
      continue;
    }
    served.push(next);
    under.push(startNext(turns, next));
  }
  expect(served.slice(0, 5)).toContain("new");
});

test("one tenant takes at most its share of the places, all together no more than there are", () => {
  const turns = new Turns<Waiter>({ ...LIMITS, maxQueued: 100 });
  for (const tenant of ["a", "b", "c"]) runQuick(turns, tenant);
  for (let count = 0; count < 5; count += 1) {
    turns.add(waiter("a"));
    turns.add(waiter("b"));
  }
  const [first] = startAll(turns, "a");
  expect(startAll(turns, "b")).toHaveLength(1);
  expect({ running: turns.running, queued: turns.queued }).toEqual({ running: 4, queued: 6 });
  if (first !== undefined) turns.end(first);
  expect(startAll(turns, "a")).toHaveLength(1);
  expect(turns.mayStart("c")).toBe(false);
});

test("what runs alone waits until nothing of its tenant runs, and what is behind it waits too", () => {
  const turns = new Turns<Waiter>(LIMITS);
  for (const alone of [false, true, false]) turns.add(waiter("a", () => alone));
  const [first] = startAll(turns, "a");
  turns.add(waiter("b", () => true));
  expect(startAll(turns, "b")).toHaveLength(1);
  expect(turns.mayStart("a")).toBe(false);
  if (first !== undefined) turns.end(first);
  expect(turns.mayStart("a")).toBe(true);
  expect(turns.start("a")?.next.runsAlone()).toBe(true);
});

test("whether something runs alone is asked when its turn has come", () => {
  const turns = new Turns<Waiter>(LIMITS);
  let alone = true;
  for (let count = 0; count < 3; count += 1) turns.add(waiter("a", () => alone));
  expect(startAll(turns, "a")).toHaveLength(1);
  alone = false;
  expect(startAll(turns, "a")).toHaveLength(2);
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

test("what waits is bounded by its bytes, too: the tenant with most bytes loses its newest", () => {
  const turns = new Turns<Waiter>({ ...LIMITS, maxQueued: 100 });
  const never = () => false;
  const large = [40, 40].map((size) => waiter("a", never, size * MIB));
  const small = Array.from({ length: 10 }, () => waiter("b", never, MIB));
  for (const one of [...large, ...small]) {
    turns.add(one);
    turns.trim(one.tenant);
  }
  expect(turns.queuedBytes).toBe(90 * MIB);
  const newcomer = waiter("c", never, 11 * MIB);
  turns.add(newcomer);
  turns.trim("c");
  expect(large.map(({ refused }) => refused)).toEqual([
    null,
    { kind: "overloaded", message: "evaluations with 100 MiB of input are waiting already" },
  ]);
  expect([...small, newcomer].map(({ refused }) => refused)).toEqual(Array(11).fill(null));
  expect(turns.queuedBytes).toBe(61 * MIB);
});

test("bytes of what started, left, or was put back are counted once", () => {
  const turns = new Turns<Waiter>(LIMITS);
  const [one, other] = [waiter("a"), waiter("a")];
  turns.add(one);
  turns.add(other);
  expect(turns.start("a")?.next).toBe(one);
  expect(turns.queuedBytes).toBe(10);
  turns.putBack(one);
  expect(turns.queuedBytes).toBe(20);
  turns.leave(other);
  turns.leave(other);
  turns.refuse(() => ({ kind: "canceled" }));
  expect(turns.queuedBytes).toBe(0);
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

describe("slow runs", () => {
  test("leave the quick places to others", () => {
    const turns = new Turns<Waiter>({ ...LIMITS, maxRunning: 2 });
    for (const tenant of ["e", "f", "g"]) runQuick(turns, tenant);
    for (const tenant of ["a", "b", "c", "d"]) runSlow(turns, tenant);
    expect({ running: turns.running, slow: turns.slow }).toEqual({ running: 4, slow: 4 });
    for (const tenant of ["e", "f", "g"]) turns.add(waiter(tenant));
    const quick = ["e", "f", "g"].map((tenant) => startAll(turns, tenant).length);
    expect(quick).toEqual([1, 1, 0]);
  });

  test("keep their quick place while no slow one is free, and leave it when one is", () => {
    const turns = new Turns<Waiter>({ ...LIMITS, maxRunning: 1, maxSlow: 1, maxLate: 1 });
    const first = runSlow(turns, "a");
    runSlow(turns, "b");
    turns.add(waiter("c"));
    expect(turns.mayStart("c")).toBe(false);
    turns.end(first);
    expect(turns.mayStart("c")).toBe(true);
    expect({ running: turns.running, slow: turns.slow }).toEqual({ running: 1, slow: 1 });
  });

  test("make their tenant wait for a slow place until it has been quick 16 times in a row", () => {
    const turns = new Turns<Waiter>({ ...LIMITS, maxSlow: 2, maxLate: 2 });
    for (let run = 0; run < 2; run += 1) turns.end(runSlow(turns, "a"));
    runQuick(turns, "a", 15);
    const others = [runSlow(turns, "b"), runSlow(turns, "c")];
    turns.add(waiter("a"));
    expect(turns.mayStart("a")).toBe(false);
    for (const other of others) turns.end(other);
    const quick = startNext(turns, "a");
    expect({ running: turns.running, slow: turns.slow }).toEqual({ running: 1, slow: 1 });
    turns.end(quick);
    turns.add(waiter("a"));
    startNext(turns, "a");
    expect({ running: turns.running, slow: turns.slow }).toEqual({ running: 1, slow: 0 });
  });

  test("of those that nobody knew leave a quick place to who is known to be quick", () => {
    const turns = new Turns<Waiter>({ ...LIMITS, maxRunning: 2, maxSlow: 1, maxLate: 2 });
    runQuick(turns, "quick");
    for (const tenant of ["a", "b", "c"]) runSlow(turns, tenant);
    expect({ running: turns.running, slow: turns.slow }).toEqual({ running: 3, slow: 2 });
    for (const tenant of ["new", "quick"]) turns.add(waiter(tenant));
    expect([turns.mayStart("new"), turns.mayStart("quick")]).toEqual([false, true]);
  });

  test("say nothing of their tenant's pace where they are only late", () => {
    const turns = new Turns<Waiter>({ ...LIMITS, maxSlow: 1, maxLate: 1 });
    runSlow(turns, "slow");
    turns.add(waiter("cold"));
    const cold = startNext(turns, "cold");
    turns.noteLate(cold);
    turns.end(cold);
    turns.add(waiter("cold"));
    expect(turns.mayStart("cold")).toBe(true);
  });

  test("of one tenant leave a slow place to others", () => {
    const turns = new Turns<Waiter>({ ...LIMITS, maxSlow: 2, maxLate: 2, maxQueued: 9 });
    for (let count = 0; count < 3; count += 1) turns.add(waiter("a"));
    for (const turn of startAll(turns, "a")) turns.noteSlow(turn);
    expect({ running: turns.running, slow: turns.slow }).toEqual({ running: 3, slow: 1 });
    runSlow(turns, "b");
    expect(turns.slow).toBe(2);
  });

  test("are runs like others where there is no slow place", () => {
    const turns = new Turns<Waiter>({ ...LIMITS, maxSlow: 0, maxLate: 0 });
    turns.end(runSlow(turns, "a"));
    turns.add(waiter("a"));
    expect(turns.mayStart("a")).toBe(true);
  });

  test("are forgotten when they end twice, and not counted after", () => {
    const turns = new Turns<Waiter>(LIMITS);
    const turn = runSlow(turns, "a");
    turns.end(turn);
    turns.end(turn);
    turns.noteSlow(turn);
    expect({ running: turns.running, slow: turns.slow }).toEqual({ running: 0, slow: 0 });
  });
});
