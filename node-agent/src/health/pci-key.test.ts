import fc from "fast-check";
import { expect, it } from "vitest";
import { pciKey, pciKeyIn } from "./pci-key.ts";

it.each([
  ["PCI:0000:41:00", "0000:41:00"],
  ["0000:41:00", "0000:41:00"],
  ["00000000:41:00.0", "0000:41:00"],
  ["0000:41:00.0", "0000:41:00"],
  ["41:00.0", "0000:41:00"],
  ["00000009:01:00.0", "0009:01:00"],
  ["PCI:0009:01:00", "0009:01:00"],
  ["00010000:AF:1E.7", "10000:af:1e"],
])("spells %s as %s", (text, key) => {
  expect(pciKey(text)).toBe(key);
});

it.each(["", "41", "GPU-1", "0000:41:00.8", "0000:4:00.0", "x0000:41:00", "000000000:41:00"])(
  "takes %j for no address",
  (text) => {
    expect(pciKey(text)).toBeUndefined();
  },
);

it("finds the first address in a line", () => {
  const line = "Unable to determine the device handle for GPU3: 0000:5F:00.0: Unknown Error";
  expect(pciKeyIn(line)).toBe("0000:5f:00");
  expect(pciKeyIn("no address at 12:34:56 here")).toBeUndefined();
});

it("never throws and gives only keys that it spells the same again", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 80 }), (text) => {
      for (const key of [pciKey(text), pciKeyIn(text)]) {
        if (key !== undefined) expect(pciKey(key)).toBe(key);
      }
    }),
  );
});
