import { expect, test } from "vitest";
import { FairQueue } from "./fair-queue.ts";

function queueOf(items: Readonly<Record<string, readonly string[]>>): FairQueue<string> {
  const queue = new FairQueue<string>();
  for (const [tenant, waiting] of Object.entries(items)) {
    for (const item of waiting) queue.add(tenant, item);
  }
  return queue;
}

test("tenants take turns however much one of them has waiting", () => {
  const queue = queueOf({ a: ["a1", "a2", "a3"], b: ["b1"] });
  const served: (string | undefined)[] = [];
  for (let turn = queue.tenants()[0]; turn !== undefined; turn = queue.tenants()[0]) {
    expect(queue.first(turn)).toBe(queue.first(turn));
    served.push(queue.take(turn));
  }
  expect(served).toEqual(["a1", "b1", "a2", "a3"]);
  expect(queue.size).toBe(0);
});

test("a removed item is gone and cannot be removed twice", () => {
  const queue = queueOf({ a: ["a1"] });
  expect(queue.remove("a", "a1")).toBe(true);
  expect(queue.remove("a", "a1")).toBe(false);
  expect(queue.take("a")).toBeUndefined();
  expect(queue.items()).toEqual([]);
});

test("the newest item of the longest line is the one that goes", () => {
  const queue = queueOf({ a: ["a1", "a2", "a3"], b: ["b1"], c: ["c1", "c2"] });
  expect(queue.takeNewestOfLongest("b")).toBe("a3");
  expect(queue.size).toBe(5);
  expect(queue.items().map(({ item }) => item)).toEqual(["a1", "a2", "b1", "c1", "c2"]);
});

test("of lines that are equally long the preferred tenant's counts as the longest", () => {
  const lines = { a: ["a1", "a2"], b: ["b1", "b2"], c: ["c1"] };
  expect(queueOf(lines).takeNewestOfLongest("b")).toBe("b2");
  expect(queueOf(lines).takeNewestOfLongest("c")).toBe("a2");
  expect(queueOf({}).takeNewestOfLongest("c")).toBeUndefined();
});

test("the newest is found among items that have been taken and removed in any order", () => {
  const queue = new FairQueue<number>();
  for (let item = 0; item < 1_000; item += 1) queue.add("a", item);
  for (let item = 999; item >= 500; item -= 1) expect(queue.remove("a", item)).toBe(true);
  expect(queue.take("a")).toBe(0);
  expect(queue.takeNewestOfLongest("a")).toBe(499);
  queue.add("a", 7_000);
  expect(queue.takeNewestOfLongest("a")).toBe(7_000);
  expect(queue.takeNewestOfLongest("a")).toBe(498);
  expect(queue.size).toBe(497);
});

test("an item that is put first is its tenant's oldest, and the order of the rest stays", () => {
  const queue = queueOf({ a: ["a1", "a2"], b: ["b1"] });
  queue.addFirst("a", "a0");
  queue.addFirst("c", "c0");
  expect(queue.tenants()).toEqual(["a", "b", "c"]);
  expect(queue.size).toBe(5);
  expect(queue.takeNewestOfLongest("a")).toBe("a2");
  expect([queue.take("a"), queue.take("a"), queue.take("a")]).toEqual(["a0", "a1", undefined]);
  expect([queue.take("c"), queue.take("b")]).toEqual(["c0", "b1"]);
  expect(queue.size).toBe(0);
});

test("an item that is added again is the newest", () => {
  const queue = queueOf({ a: ["a1", "a2"] });
  queue.remove("a", "a1");
  queue.add("a", "a1");
  expect(queue.takeNewestOfLongest("a")).toBe("a1");
  expect(queue.takeNewestOfLongest("a")).toBe("a2");
  expect(queue.takeNewestOfLongest("a")).toBeUndefined();
});

test("the newest item of the heaviest line can go, the preferred one of lines of equal weight", () => {
  const queue = new FairQueue<{ readonly name: string; readonly weight: number }>(
    ({ weight }) => weight,
  );
  const add = (tenant: string, name: string, weight: number) => queue.add(tenant, { name, weight });
  for (const [index, weight] of [1, 1, 1].entries()) add("many", `m${index}`, weight);
  add("heavy", "h0", 7);
  add("heavy", "h1", 2);
  add("other", "o0", 7);
  expect(queue.weight).toBe(19);
  expect(queue.takeNewestOfHeaviest("many")?.name).toBe("h1");
  expect(queue.takeNewestOfHeaviest("other")?.name).toBe("o0");
  expect(queue.takeNewestOfHeaviest("other")?.name).toBe("h0");
  expect(queue.takeNewestOfLongest("other")?.name).toBe("m2");
  queue.addFirst("many", { name: "m", weight: 5 });
  expect(queue.weight).toBe(7);
});
