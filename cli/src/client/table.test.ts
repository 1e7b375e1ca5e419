import { describe, expect, it } from "vitest";
import { renderTable } from "./table.ts";

describe("renderTable", () => {
  it("aligns the columns and leaves no blanks at line ends", () => {
    const table = { columns: ["CLUSTER", "N"], rows: [["a", "1"], ["longer-name", "22"], ["b"]] };
    expect(renderTable(table)).toBe("CLUSTER      N\na            1\nlonger-name  22\nb\n");
  });

  it("shows nothing that a terminal would obey", () => {
    expect(renderTable({ columns: ["A"], rows: [["\u001b[2Jx\ny\u202e"]] })).toBe("A\n�[2Jx�y�\n");
  });
});
