import { describe, expect, it } from "vitest";
import { AlignedRows, renderTable } from "./table.ts";

describe("renderTable", () => {
  it("aligns the columns and leaves no blanks at line ends", () => {
    const table = { columns: ["CLUSTER", "N"], rows: [["a", "1"], ["longer-name", "22"], ["b"]] };
    expect(renderTable(table)).toBe("CLUSTER      N\na            1\nlonger-name  22\nb\n");
  });

  it("shows nothing that a terminal would obey", () => {
    expect(renderTable({ columns: ["A"], rows: [["\u001b[2Jx\ny\u202e"]] })).toBe("A\n�[2Jx�y�\n");
  });
});

describe("AlignedRows", () => {
  it("keeps columns where they are while rows come, and widens them for longer cells", () => {
    const rows = new AlignedRows();
    expect(rows.render([["CLUSTER", "N"]])).toBe("CLUSTER  N\n");
    expect(rows.render([["a", "1"]])).toBe("a        1\n");
    expect(rows.render([["longer-name", "2"]])).toBe("longer-name  2\n");
    expect(rows.render([["b", "3"]])).toBe("b            3\n");
    expect(rows.render([])).toBe("");
  });
});
