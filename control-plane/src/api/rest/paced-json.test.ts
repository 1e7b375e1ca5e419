import { describe, expect, it } from "vitest";
import { pacedJson } from "./paced-json.ts";

describe("pacedJson", () => {
  it("gives what JSON.stringify gives", async () => {
    const items = [{ a: [1, "é"] }, null, "x"];
    expect(await pacedJson(items)).toBe(JSON.stringify(items));
    expect(await pacedJson([])).toBe("[]");
  });

  it("lets others have their turn between large items", async () => {
    let turns = 0;
    const count = () => {
      turns += 1;
      counting = setImmediate(count);
    };
    let counting = setImmediate(count);
    const slow = {
      toJSON() {
        const untilMs = performance.now() + 6;
        while (performance.now() < untilMs);
        return "slow";
      },
    };
    await pacedJson(Array.from({ length: 10 }, () => slow));
    clearImmediate(counting);
    expect(turns).toBeGreaterThanOrEqual(9);
  });
});
