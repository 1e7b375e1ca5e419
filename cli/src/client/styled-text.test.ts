import { describe, expect, it } from "vitest";
import { bar, lineText, lineWidth } from "./styled-text.ts";

describe("lineText", () => {
  const line = [{ text: "a\u001b[2J ", style: "red" }, { text: "b\u009b  " }] as const;

  it("shows nothing that a terminal would obey but the styles", () => {
    expect(lineText(line, { styled: true })).toBe("\u001b[31ma�[2J \u001b[0mb�  ");
    expect(lineText(line, { styled: false })).toBe("a�[2J b�");
  });

  it("cuts off what does not fit, never within a character", () => {
    expect(lineText(line, { styled: false, width: 3 })).toBe("a�[");
    expect(lineText(line, { styled: true, width: 1 })).toBe("\u001b[31ma\u001b[0m");
    expect(lineText([{ text: "😀😀" }], { styled: false, width: 1 })).toBe("😀");
  });
});

describe("bar", () => {
  it.each<[number | undefined, string]>([
    [undefined, "[    ]"],
    [Number.NaN, "[    ]"],
    [0, "[    ]"],
    [0.001, "[|   ]"],
    [0.5, "[||  ]"],
    [1, "[||||]"],
    [7, "[||||]"],
    [-1, "[    ]"],
  ])("shows a share of %s as %s", (ratio, text) => {
    const line = bar(ratio, 4, "green");
    expect(lineText(line, { styled: false })).toBe(text);
    expect(lineWidth(line)).toBe(6);
  });
});
