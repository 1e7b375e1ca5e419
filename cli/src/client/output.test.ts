import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { parseLossless } from "../json.ts";
import { renderData } from "./output.ts";

const NUMBERS = '{"a":10.0,"big":9223372036854775809,"huge":1e400,"minus":-0,"plain":1.5}';
const noTable = () => "";

describe("renderData", () => {
  it("prints numbers in JSON as they were sent", () => {
    expect(renderData(parseLossless(NUMBERS), "json", noTable)).toBe(
      '{\n  "a": 10.0,\n  "big": 9223372036854775809,\n  "huge": 1e400,\n  "minus": -0,\n  "plain": 1.5\n}\n',
    );
  });

  it("prints numbers in YAML as they were sent", () => {
    expect(renderData(parseLossless(NUMBERS), "yaml", noTable)).toBe(
      "a: 10.0\nbig: 9223372036854775809\nhuge: 1e400\nminus: -0\nplain: 1.5\n",
    );
  });

  it("prints YAML that reads back as the same data", () => {
    const data = {
      text: ["10", "yes", "null", "a: b", "two\nlines", "", "\u001b[1m"],
      nested: [{ a: [] }, {}, null, true],
    };
    expect(parse(renderData(data, "yaml", noTable))).toEqual(data);
  });

  it("escapes in JSON and YAML what a terminal would obey, and the data stays the same", () => {
    const data = [
      "x\u001b[2J",
      "x\u009b2J",
      "x\u202ey",
      "\u007f",
      "\u{e0001}",
      { "k\u009b": "\n\u009b" },
    ];
    for (const form of ["json", "yaml"] as const) {
      const text = renderData(data, form, noTable);
      expect(text.replaceAll("\n", "")).not.toMatch(/\p{Cc}|\p{Cf}/u);
      expect(parse(text)).toEqual(data);
    }
  });

  it("quotes in YAML what older readers would take for something else", () => {
    expect(renderData({ a: "yes", b: "1.0" }, "yaml", noTable)).toBe('a: "yes"\nb: "1.0"\n');
  });

  it("leaves the table to the view, which may be text", () => {
    expect(renderData(1, "table", (data) => `n=${data}\n`)).toBe("n=1\n");
    expect(renderData(1, "table", () => ({ columns: ["A"], rows: [] }))).toBe("A\n");
  });
});
