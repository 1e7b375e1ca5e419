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
    const large = Array.from({ length: 100_000 }, (_, n) => ({ n }));
    await pacedJson(Array.from({ length: 10 }, () => large));
    clearImmediate(counting);
    expect(turns).toBeGreaterThan(5);
  });
});
