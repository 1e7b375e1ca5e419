import { expect, test } from "vitest";
import { parseStat } from "./process-usage.ts";

test("memory and CPU time are read from the kernel's line, whatever the command is called", () => {
  const fields = [
    "S",
    ...Array.from({ length: 10 }, () => "0"),
    "12",
    "30",
    ...Array(8).fill("0"),
    "5120",
  ];
  expect(parseStat(`42 (a ) b) ${fields.join(" ")} 0 0`)).toEqual({ rssMiB: 20, cpuMs: 420 });
  expect(parseStat("garbage")).toBeNull();
});
