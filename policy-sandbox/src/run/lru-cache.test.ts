import { describe, expect, it } from "vitest";
import { LruCache } from "./lru-cache.ts";

const cacheOf = (maxEntries: number, maxWeight: number) =>
  new LruCache<string>({ maxEntries, maxWeight, weightOf: (value) => value.length });

describe("LruCache", () => {
  it("forgets the least recently used entry when there are too many", () => {
    const cache = cacheOf(2, 100);
    cache.set("a", "1");
    cache.set("b", "2");
    expect(cache.get("a")).toBe("1");
    cache.set("c", "3");
    expect(["a", "b", "c"].map((name) => cache.get(name))).toEqual(["1", undefined, "3"]);
  });

  it("forgets the least recently used entries when they are too heavy, and knows replaced ones", () => {
    const cache = cacheOf(10, 6);
    cache.set("a", "xxx");
    cache.set("a", "x");
    cache.set("b", "xx");
    cache.set("c", "xxx");
    expect(["a", "b", "c"].map((name) => cache.get(name))).toEqual(["x", "xx", "xxx"]);
    cache.set("d", "xx");
    expect(["a", "b", "c", "d"].map((name) => cache.get(name))).toEqual([
      undefined,
      undefined,
      "xxx",
      "xx",
    ]);
    cache.set("e", "x".repeat(7));
    expect(["c", "d", "e"].map((name) => cache.get(name))).toEqual(["xxx", "xx", undefined]);
    cache.set("f", "xxxxxx");
    expect(cache.get("f")).toBe("xxxxxx");
  });

  it("has room again for what was deleted", () => {
    const cache = cacheOf(10, 3);
    cache.set("a", "xxx");
    cache.delete("a");
    cache.delete("a");
    cache.set("b", "xxx");
    expect(cache.get("b")).toBe("xxx");
  });
});
