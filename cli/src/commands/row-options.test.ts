import { describe, expect, it } from "vitest";
import { intervalMs, rowFilter } from "./row-options.ts";

describe("intervalMs", () => {
  it.each([
    ["1", 1_000],
    ["0.2", 200],
    ["60", 60_000],
  ])("reads %j", (text, ms) => {
    expect(intervalMs(text)).toBe(ms);
  });

  it.each(["", "0.1", "61", "fast", "-1", "NaN"])("refuses %j", (text) => {
    expect(() => intervalMs(text)).toThrow(`--interval ${JSON.stringify(text)}: expected seconds`);
  });
});

describe("rowFilter", () => {
  it("gives what was asked for", () => {
    expect(rowFilter({}, "gpus")).toEqual({});
    const all = { cluster: "c", node: "n", state: "free" };
    expect(rowFilter(all, "gpus")).toEqual(all);
  });

  it("refuses what a resource does not have", () => {
    expect(() => rowFilter({ node: "n" }, "clusters")).toThrow("--node");
    expect(() => rowFilter({ state: "free" }, "nodes")).toThrow("--state");
  });
});
