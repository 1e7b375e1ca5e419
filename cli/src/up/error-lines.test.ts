import { describe, expect, it } from "vitest";
import { ErrorLines, LineBudget, tellingLine } from "./error-lines.ts";

describe("tellingLine", () => {
  it("finds the message in Node's report of an uncaught error", () => {
    const report = [
      "file:///app/main.ts:3",
      "throw new Error('no such thing');",
      "      ^",
      "",
      "Error: no such thing",
      "    at file:///app/main.ts:3:7 {",
      "  code: 'E'",
      "}",
      "",
      "Node.js v26.10.0",
    ];
    expect(tellingLine(report)).toBe("Error: no such thing");
  });

  it("takes the last of several messages", () => {
    expect(tellingLine(["a warning", "control-plane: port 8000 is taken"])).toBe(
      "control-plane: port 8000 is taken",
    );
  });

  it("falls back on the very last line, and on nothing", () => {
    expect(tellingLine(["  at x", "  at y"])).toBe("  at y");
    expect(tellingLine([])).toBeUndefined();
  });
});

describe("ErrorLines", () => {
  it("keeps the newest lines only", () => {
    const lines = new ErrorLines();
    lines.add("first");
    for (let i = 0; i < 50; i += 1) lines.add("  at x");
    expect(lines.telling()).toBe("  at x");
  });
});

describe("LineBudget", () => {
  it("holds lines back over the limit and tells how many with the next window", () => {
    const budget = new LineBudget(2, 1_000);
    const takes = [0, 10, 20, 30, 1_000, 1_001].map((nowMs) => budget.take(nowMs));
    expect(takes).toEqual([
      { allowed: true, heldBefore: 0 },
      { allowed: true, heldBefore: 0 },
      { allowed: false, heldBefore: 0 },
      { allowed: false, heldBefore: 0 },
      { allowed: true, heldBefore: 2 },
      { allowed: true, heldBefore: 0 },
    ]);
  });
});
