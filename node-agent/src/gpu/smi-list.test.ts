import fc from "fast-check";
import { expect, it } from "vitest";
import { anyText } from "../testing/any-text.ts";
import { loadSmiFixture } from "../testing/smi-fixture.ts";
import { parseMigList } from "./smi-list.ts";

const GPU = "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-95e4f8dd-9d8f-a0d3-ad43-22843ee850ad)";
const UUID = "GPU-95e4f8dd-9d8f-a0d3-ad43-22843ee850ad";

it("reads the parts of each GPU with profile, position and UUID", async () => {
  const { list } = await loadSmiFixture("a100-mig");
  const found = parseMigList(list.split("\n"));
  expect([...found.values()].map((parts) => parts.map(({ profile }) => profile))).toEqual([
    ["3g.20gb", "3g.20gb"],
    ["3g.20gb", "2g.10gb", "1g.5gb", "1g.5gb"],
    Array(7).fill("1g.5gb"),
  ]);
  expect(found.get(UUID)?.[1]).toEqual({
    index: 1,
    uuid: "MIG-a3d6d1b2-a4e6-b7ea-af0e-93daad0bc9ca",
    profile: "3g.20gb",
  });
});

it("reads the older form of UUIDs and profiles with attributes", () => {
  const lines = [
    "WARNING: infoROM is corrupted at gpu 0000:01:00.0",
    GPU,
    `  MIG 1g.5gb+me  Device 12: (UUID: MIG-${UUID}/7/0)`,
    "  MIG 1c.3g.20gb Device  3: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)\r",
  ];
  expect(parseMigList(lines).get(UUID)).toEqual([
    { index: 12, uuid: `MIG-${UUID}/7/0`, profile: "1g.5gb+me" },
    { index: 3, uuid: "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f", profile: "1c.3g.20gb" },
  ]);
});

it("gives no part to another GPU when the line of its own cannot be read", () => {
  const part = "  MIG 1g.5gb      Device  0: (UUID: MIG-c8e08a2a-9c02-30ab-1079-c8da5722fb21)";
  expect(parseMigList([GPU, "GPU 1: [Unknown Error] (UUID: [Unknown Error])", part]).size).toBe(0);
  expect(parseMigList([part]).size).toBe(0);
});

it("never throws, and holds few parts whatever it reads", () => {
  const line = fc.oneof(
    anyText(200),
    fc.constantFrom(GPU, "  MIG 1g.5gb Device  0: (UUID: MIG-00000000)", "GPU 0:"),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 200 }), (lines) => {
      for (const parts of parseMigList(lines).values()) expect(parts.length).toBeLessThan(65);
    }),
  );
});
