import { expect, test } from "vitest";
import { FairQueue } from "./fair-queue.ts";

test("tenants take turns however much one of them has waiting", () => {
  const queue = new FairQueue<string>();
  for (const item of ["a1", "a2", "a3"]) queue.add("a", item);
  queue.add("b", "b1");
  const served: (string | undefined)[] = [];
  for (let turn = queue.tenants()[0]; turn !== undefined; turn = queue.tenants()[0]) {
    served.push(queue.take(turn));
  }
  expect(served).toEqual(["a1", "b1", "a2", "a3"]);
  expect(queue.size).toBe(0);
});

test("a removed item is gone and cannot be removed twice", () => {
  const queue = new FairQueue<string>();
  queue.add("a", "a1");
  expect(queue.remove("a", "a1")).toBe(true);
  expect(queue.remove("a", "a1")).toBe(false);
  expect(queue.take("a")).toBeUndefined();
  expect(queue.items()).toEqual([]);
});
