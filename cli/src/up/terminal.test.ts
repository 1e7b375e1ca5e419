import { describe, expect, it } from "vitest";
import { Terminal } from "./terminal.ts";

function terminalOf(isTTY: boolean, columns = 12) {
  const written: string[] = [];
  const time = { ms: 5_000 };
  const output = { isTTY, columns, write: (text: string) => written.push(text) };
  return { terminal: new Terminal(output, () => time.ms), written, time };
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

  it("prints a status as a line elsewhere, when it changes and at most every 10 s", () => {
    const { terminal, written, time } = terminalOf(false);
    const polled = (text: string, ms: number) => {
      time.ms += ms;
      terminal.status(text);
    };
    polled("waiting for 1", 0);
    polled("waiting for 1", 60_000);
    polled("waiting for 2", 0);
    polled("waiting for 3", 4_000);
    polled("waiting for 4", 5_999);
    polled("waiting for 5", 1);
    polled("waiting for 6", 9_999);
    polled("waiting for 6", 1);
    polled("waiting for 6", 60_000);
    terminal.status("");
    terminal.print("line");
    expect(written).toEqual([
      "waiting for 1\n",
      "waiting for 2\n",
      "waiting for 5\n",
      "waiting for 6\n",
      "line\n",
    ]);
  });
});
