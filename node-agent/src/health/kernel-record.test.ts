import fc from "fast-check";
import { expect, it } from "vitest";
import { parseKernelRecords } from "./kernel-record.ts";

it("reads a record and leaves out the keys behind it", () => {
  const chunk =
    "3,1207,98765432,-;NVRM: Xid (PCI:0000:41:00): 79\n SUBSYSTEM=pci\n DEVICE=+pci:0000:41:00.0\n";
  expect(parseKernelRecords(chunk)).toEqual([
    { seq: 1207, sinceBootUs: 98_765_432, text: "NVRM: Xid (PCI:0000:41:00): 79" },
  ]);
});

it("reads records with more fields before the text, and several in one chunk", () => {
  const records = parseKernelRecords("6,1,0,-,caller=T1;a;b\n12,2,5,c;second\n");
  expect(records.map(({ seq, text }) => [seq, text])).toEqual([
    [1, "a;b"],
    [2, "second"],
  ]);
});

it("undoes the kernel's escapes and keeps the message in one line", () => {
  const [record] = parseKernelRecords("4,7,1,-;GPU has\\x0aNVRM: caf\\xc3\\xa9 \\x5c \\x1b[31m\n");
  expect(record?.text).toBe("GPU has NVRM: café \\  [31m");
});

it("cuts a text that is too long", () => {
  const [record] = parseKernelRecords(`4,7,1,-;${"x".repeat(5_000)}`);
  expect(record?.text).toHaveLength(1_024);
});

it.each([
  "",
  "\n",
  "text",
  "1,2;x",
  "a,2,3,-;x",
  "1,2,3",
  " 1,2,3,-;x",
  `1,${"9".repeat(20)},3,-;x`,
])("takes %j for no record", (chunk) => {
  expect(parseKernelRecords(chunk)).toEqual([]);
});

it("never throws, and gives only whole numbers and lines without control characters", () => {
  const piece = fc.oneof(
    fc.string({ unit: "binary", maxLength: 200 }),
    fc.constantFrom("3,1,2,-;", "\\x", "\\xff", "\n", ";", ",", " KEY=v", "NVRM: Xid ("),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      for (const { seq, sinceBootUs, text } of parseKernelRecords(pieces.join(""))) {
        expect(Number.isSafeInteger(seq) && Number.isSafeInteger(sinceBootUs)).toBe(true);
        expect(text).not.toMatch(/\p{Cc}/u);
        expect(text.length).toBeLessThanOrEqual(1_024);
      }
    }),
  );
});
