import { describe, expect, it } from "vitest";
import { TopScreen } from "./top-screen.ts";

describe("TopScreen", () => {
  const screenOf = (size: { columns?: number; rows?: number }) => {
    const written: string[] = [];
    const output = { isTTY: true, ...size, write: (text: string) => written.push(text) };
    return { screen: new TopScreen(output, false), written };
  };

  it("takes the terminal, draws in place, and gives it back once", () => {
    const { screen, written } = screenOf({ columns: 4, rows: 2 });
    screen.show([[{ text: "not open" }]]);
    screen.open();
    screen.open();
    screen.show([[{ text: "abcdef" }], [{ text: "b" }], [{ text: "too low" }]]);
    screen.close();
    screen.close();
    expect(written).toEqual([
      "\u001b[?1049h\u001b[?25l\u001b[?7l",
      "\u001b[Habcd\u001b[K\r\nb\u001b[K\u001b[J",
      "\u001b[?7h\u001b[?25h\u001b[?1049l",
    ]);
  });

  it("takes a terminal that does not know its size for one of 80 x 24", () => {
    expect(screenOf({ columns: 0, rows: 0 }).screen.size).toEqual({ width: 80, height: 24 });
    expect(screenOf({ columns: 100, rows: 30 }).screen.size).toEqual({ width: 100, height: 30 });
  });
});
