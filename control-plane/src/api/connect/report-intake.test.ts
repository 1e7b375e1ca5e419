import { describe, expect, it } from "vitest";
import { entry } from "../../testing/agents.ts";
import { FirstReport } from "./report-intake.ts";

const message = (...keys: string[]) => keys.map((key) => entry(key, 1, {}));

describe("FirstReport", () => {
  it.each([
    ["an empty message", []],
    ["a value that came before", ["metrics"]],
  ])("ends with %s, after all its messages", (_what, next) => {
    const first = new FirstReport();
    expect(first.take(message("metrics", "node/a"))).toBeUndefined();
    expect(first.take(message("node/b"))).toBeUndefined();
    expect(first.take(message(...next))).toEqual(new Set(["metrics", "node/a", "node/b"]));
    expect(first.take(message("node/a"))).toBeUndefined();
  });

  it("is empty for an agent that has nothing to say", () => {
    const first = new FirstReport();
    expect(first.take([])).toBeUndefined();
    expect(first.take([])).toEqual(new Set());
  });
});
