import { describe, expect, it } from "vitest";
import { shortList } from "./short-list.ts";

const texts = (count: number) => Array.from({ length: count }, (_, n) => `text ${n}`);
const more = (count: number) => `and ${count} more`;

describe("shortList", () => {
  it("names up to 100 texts", () => {
    expect(shortList(texts(100), more)).toEqual(texts(100));
  });

  it("tells how many more there are", () => {
    expect(shortList(texts(137), more)).toEqual([...texts(100), "and 37 more"]);
  });
});
