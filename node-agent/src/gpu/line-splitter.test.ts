import { expect, it } from "vitest";
import { LineSplitter } from "./line-splitter.ts";

it("puts lines together that come in pieces, and cuts pieces that hold several", () => {
  const splitter = new LineSplitter();
  expect(splitter.push("on")).toEqual([]);
  expect(splitter.push("e\ntwo\nth")).toEqual(["one", "two"]);
  expect(splitter.push("ree\r\n\n\nfour\n")).toEqual(["three", "four"]);
});

it("gives the same lines however the text is cut", () => {
  const text = "alpha\nbeta\r\n\ngamma delta\n";
  for (let size = 1; size <= text.length; size += 1) {
    const splitter = new LineSplitter();
    const lines: string[] = [];
    for (let at = 0; at < text.length; at += size) {
      lines.push(...splitter.push(text.slice(at, at + size)));
    }
    expect(lines).toEqual(["alpha", "beta", "gamma delta"]);
  }
});

it("drops a line that is too long and goes on with the next one", () => {
  const splitter = new LineSplitter(8);
  expect(splitter.push("123456789\nok\n")).toEqual(["ok"]);
  for (let piece = 0; piece < 100; piece += 1) expect(splitter.push("xxxxx")).toEqual([]);
  expect(splitter.push("tail\nnext\n")).toEqual(["next"]);
});

it("keeps a line of exactly the longest length", () => {
  expect(new LineSplitter(8).push("12345678\n")).toEqual(["12345678"]);
});
