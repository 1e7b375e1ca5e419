import { describe, expect, it } from "vitest";
import { Terminal } from "./terminal.ts";

function terminalOf(isTTY: boolean, columns = 12) {
  const written: string[] = [];
  const output = { isTTY, columns, write: (text: string) => written.push(text) };
  return { terminal: new Terminal(output), written };
}

describe("Terminal", () => {
  it("changes one status line in place on a terminal, below what is printed", () => {
    const { terminal, written } = terminalOf(true);
    terminal.status("waiting");
    terminal.print("line");
    terminal.status("a very long status");
    terminal.status("");
    terminal.print("end");
    expect(written).toEqual([
      "\r\u001b[2Kwaiting",
      "\r\u001b[2Kline\nwaiting",
      "\r\u001b[2Ka very lon…",
      "\r\u001b[2K",
      "end\n",
    ]);
  });

  it("takes a terminal that does not know its width for one of 80 characters", () => {
    const { terminal, written } = terminalOf(true, 0);
    terminal.status("x".repeat(90));
    expect(written).toEqual([`\r\u001b[2K${"x".repeat(78)}…`]);
  });

  it("prints a status as a line elsewhere, each only once", () => {
    const { terminal, written } = terminalOf(false);
    terminal.status("waiting");
    terminal.status("waiting");
    terminal.status("");
    terminal.print("line");
    expect(written).toEqual(["waiting\n", "line\n"]);
  });
});
