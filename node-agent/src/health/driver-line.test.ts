import fc from "fast-check";
import { expect, it } from "vitest";
import { parseDriverLine } from "./driver-line.ts";

const pci = "0000:41:00";
const uuid = "GPU-5d9d77a0-4e4a-44d1-9eb7-2cbb4bc54c1e";

it.each([
  ["NVRM: Xid (PCI:0000:41:00): 79, pid=1234, name=python, GPU has fallen off the bus.", 79],
  ["NVRM: Xid (PCI:0000:41:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off", 79],
  ["NVRM: Xid (0000:41:00): 14, Channel 00000001", 14],
  ["NVRM: Xid (PCI:0000:41:00.0): 31", 31],
  ["NVRM: Xid (PCI:0000:41:00 GPU-I:05): 45, pid=7, name=train, Ch 00000008", 45],
  ["NVRM: Xid (PCI:0000:41:00 GPU-I:05 GPU-CI:00): 94, pid=7, Contained: SM", 94],
  ["[ 1843.3] NVRM: Xid (PCI:0000:41:00): 149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 08", 149],
])("reads the XID of %j", (text, code) => {
  expect(parseDriverLine(text)).toEqual({ kind: "xid", pci, code });
});

it.each([
  ["nvidia-nvswitch3: SXid (PCI:0000:41:00.0): 12028, Non-fatal, Link 32 egress error", false],
  ["nvidia-nvswitch0: SXid (PCI:0000:41:00.0): 12028, Fatal, Link 30 LTSSM Fault Up", true],
])("reads the SXid of %j", (text, fatal) => {
  expect(parseDriverLine(text)).toEqual({ kind: "sxid", pci, code: 12_028, fatal });
});

it.each([
  "NVRM: GPU 0000:41:00.0: GPU has fallen off the bus.",
  "NVRM: GPU at PCI:0000:41:00.0 has fallen off the bus",
  "NVRM: The NVIDIA GPU 0000:41:00.0 NVRM: (PCI ID: 10de:26b5) installed in this system has  NVRM: fallen off the bus and is not responding to commands.",
])("reads that a GPU has fallen off: %j", (text) => {
  expect(parseDriverLine(text)).toEqual({ kind: "fallen_off", pci });
});

it("reads which GPU is at an address", () => {
  const text = `NVRM: GPU at PCI:0000:41:00: ${uuid}`;
  expect(parseDriverLine(text)).toEqual({ kind: "address", pci, uuid });
  expect(parseDriverLine(text.replace("PCI:", ""))).toEqual({ kind: "address", pci, uuid });
});

it.each([
  "",
  "usb 1-1: new high-speed USB device",
  "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  550.127.05",
  "NVRM: Xid error: xyz",
  "NVRM: Xid (PCI:0000:41:00): abc",
  "NVRM: Xid (PCI:0000:41:00): 999999, too long",
  "NVRM: Xid (invalid): 79",
  "nvidia-nvswitch3: SXid (PCI:0000:41:00.0): 22013, Severity 0 Engine instance 60",
  "nvidia-nvswitch3: SXid (PCI:0000:41:00.0): 22013, Data {0x0000003c, 0x00000000}",
  "NVRM: GPU at PCI:0000:41:00: GPU_IN_FULLCHIP_RESET",
])("finds nothing in %j", (text) => {
  expect(parseDriverLine(text)).toBeUndefined();
});

it("never throws on any text, and is done with a long one at once", () => {
  const piece = fc.oneof(
    fc.string({ unit: "binary", maxLength: 60 }),
    fc.constantFrom("NVRM: ", "Xid (", "SXid (", "PCI:0000:41:00", "): 79", ", Fatal", "GPU at "),
    fc.constantFrom("GPU ", "has ", "fallen off the bus", uuid, "The NVIDIA "),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const line = parseDriverLine(pieces.join(""));
      if (line !== undefined) expect(line.pci).toMatch(/^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}$/);
    }),
  );
  const hostile = `NVRM: GPU ${"has ".repeat(20_000)}`;
  const beganMs = performance.now();
  expect(parseDriverLine(hostile)).toBeUndefined();
  expect(performance.now() - beganMs).toBeLessThan(500);
});
