import { EntrySchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { entry } from "../../testing/agents.ts";
import { FirstReport } from "./report-intake.ts";

const message = (...keys: string[]) => keys.map((key) => entry(key, 1, {}));
const nodes = (from: number, count: number) =>
  message(...Array.from({ length: count }, (_none, n) => `node/${from + n}`));
const stopped = { nowMs: () => 0 };

describe("FirstReport", () => {
  it.each([
    ["an empty message", []],
    ["a value that came before", ["metrics"]],
  ])("ends with %s, after all its messages", (_what, next) => {
    const first = new FirstReport(stopped);
    expect(first.take(message("metrics", "node/a"))).toBeUndefined();
    expect(first.take(message("node/b"))).toBeUndefined();
    expect(first.take(message(...next))).toEqual(new Set(["metrics", "node/a", "node/b"]));
    expect(first.take(message("node/a"))).toBeUndefined();
  });

  it("is empty for an agent that has nothing to say", () => {
    const first = new FirstReport(stopped);
    expect(first.take([])).toBeUndefined();
    expect(first.take([])).toEqual(new Set());
  });

  it("has ended after 30 s, though every message brings new keys", () => {
    let nowMs = 5;
    const first = new FirstReport({ nowMs: () => nowMs });
    first.take(message("node/a"));
    nowMs += 29_999;
    expect(first.take(message("node/b"))).toBeUndefined();
    nowMs += 1;
    expect(first.take(message("node/c"))).toEqual(new Set(["node/a", "node/b"]));
  });

  it("holds the keys of the largest cluster, and no more", () => {
    const first = new FirstReport(stopped);
    first.take(message("cluster", "metrics"));
    for (let from = 0; from < 10_000; from += 1_000) first.take(nodes(from, 1_000));
    expect(() => first.take(nodes(10_000, 1))).toThrow(
      "entries.0.key: expected at most 10002 different keys in the first report",
    );
  });

  it("refuses bad keys by name, also of values that are gone", () => {
    const gone = (key: string) => [create(EntrySchema, { key, revision: 1n, deleted: true })];
    const take = (key: string) => () => new FirstReport(stopped).take(gone(key));
    expect(take(`node/${"x".repeat(508)}`)).toThrow("entries.0.key: expected at most 512");
    expect(take("secrets")).toThrow('entries.0.key: unknown key "secrets"; expected "cluster"');
  });
});
