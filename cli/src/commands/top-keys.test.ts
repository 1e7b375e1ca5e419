import { describe, expect, it } from "vitest";
import { readKeys, scrolled } from "./top-keys.ts";

describe("readKeys", () => {
  it("reads several keys at once and leaves out what means nothing", () => {
    expect(readKeys("x\u001b[B\u001b[5~\u001b[99;1Xq\u001b")).toEqual([
      { kind: "lines", count: 1 },
      { kind: "pages", count: -1 },
      { kind: "quit" },
    ]);
    expect(readKeys("\u0003\u001bOAconstructor")).toEqual([
      { kind: "quit" },
      { kind: "lines", count: -1 },
    ]);
  });
});

describe("scrolled", () => {
  it("gives the first row to show", () => {
    const from = (key: string) => readKeys(key).map((read) => scrolled(read, 10, 5))[0];
    expect([from("j"), from("k"), from(" "), from("\u001b[5~"), from("g"), from("q")]).toEqual([
      11, 9, 15, 5, 0, 10,
    ]);
    expect(from("G")).toBeGreaterThan(1e9);
  });
});
