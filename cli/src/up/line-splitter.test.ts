import { describe, expect, it } from "vitest";
import { LineSplitter } from "./line-splitter.ts";

describe("LineSplitter", () => {
  it("puts lines together from pieces and keeps an unfinished one back", () => {
    const splitter = new LineSplitter();
    expect(splitter.push("a\nb")).toEqual(["a"]);
    expect(splitter.push("c\r\n\nd")).toEqual(["bc", ""]);
    expect(splitter.flush()).toEqual(["d"]);
    expect(splitter.flush()).toEqual([]);
  });

  it("cuts a line over the limit, finished or not, so that it never holds more", () => {
    const splitter = new LineSplitter(4);
    expect(splitter.push("abcdefghij\nk")).toEqual(["abcd", "efgh", "ij"]);
    expect(splitter.push("lmnopq")).toEqual(["klmn"]);
    expect(splitter.flush()).toEqual(["opq"]);
  });
});
