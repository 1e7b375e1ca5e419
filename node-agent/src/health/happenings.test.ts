import { HealthClass } from "@berth/proto";
import { expect, it } from "vitest";
import { Happenings } from "./happenings.ts";

const message = (seq: number, text: string) => ({ seq, atMs: seq * 10, text });
const xid = (seq: number, code: number) =>
  message(seq, `NVRM: Xid (PCI:0000:41:00): ${code}, pid=1`);

it("keeps errors with their class, place and line", () => {
  const happenings = new Happenings();
  expect(happenings.take(xid(5, 31))).toBe(true);
  expect(happenings.take(message(6, "usb 1-1: new device"))).toBe(false);
  expect(happenings.kept).toEqual([
    {
      seq: 5,
      atMs: 50,
      kind: "xid",
      code: 31,
      pci: "0000:41:00",
      healthClass: HealthClass.APPLICATION,
      line: "NVRM: Xid (PCI:0000:41:00): 31, pid=1",
    },
  ]);
  expect(happenings.fallen.size).toBe(0);
});

it("keeps the errors of a switch", () => {
  const happenings = new Happenings();
  happenings.take(message(1, "nvidia-nvswitch0: SXid (PCI:0000:c3:00.0): 24007, Fatal, Link 28"));
  expect(happenings.kept[0]).toMatchObject({
    kind: "sxid",
    code: 24_007,
    healthClass: HealthClass.RESET,
  });
});

it("remembers the newest fall of each GPU and the UUIDs that the driver names", () => {
  const happenings = new Happenings();
  happenings.take(xid(1, 79));
  happenings.take(message(2, "NVRM: GPU 0000:41:00.0: GPU has fallen off the bus."));
  happenings.take(message(3, "NVRM: GPU at PCI:0000:42:00: GPU-0123456789ab"));
  expect([...happenings.fallen.keys()]).toEqual(["0000:41:00"]);
  expect(happenings.fallen.get("0000:41:00")?.atMs).toBe(20);
  expect([...happenings.uuids]).toEqual([["0000:42:00", "GPU-0123456789ab"]]);
  expect(happenings.kept).toHaveLength(1);
});

it("keeps 64, and loses no grave one to a flood of lesser ones", () => {
  const happenings = new Happenings();
  happenings.take(xid(1, 48));
  happenings.take(xid(2, 119));
  for (let seq = 3; seq < 1_000; seq += 1) happenings.take(xid(seq, 31));
  const { kept } = happenings;
  expect(kept).toHaveLength(64);
  expect(kept.slice(0, 3).map(({ code, seq }) => [code, seq])).toEqual([
    [48, 1],
    [119, 2],
    [31, 938],
  ]);
  expect(kept.at(-1)?.seq).toBe(999);
});
