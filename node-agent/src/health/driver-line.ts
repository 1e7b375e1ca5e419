import { pciKeyIn } from "./pci-key.ts";

/** What a line of the kernel log says of a GPU or an NVSwitch; `pci` as `pciKey` spells it. */
export type DriverLine =
  /** The driver reports an error of a GPU. */
  | { readonly kind: "xid"; readonly pci: string; readonly code: number }
  /** The driver reports an error of an NVSwitch. */
  | {
      readonly kind: "sxid";
      readonly pci: string;
      readonly code: number;
      readonly fatal: boolean;
    }
  /** The GPU does not answer on its bus any more. */
  | { readonly kind: "fallen_off"; readonly pci: string }
  /** The driver says which GPU is at an address. */
  | { readonly kind: "address"; readonly pci: string; readonly uuid: string };

const XID = /NVRM: Xid \(([^)]{1,64})\): (\d{1,5})(?!\d)/;
const SXID = /SXid \(([^)]{1,64})\): (\d{1,6}), (non-)?fatal\b/i;
const FALLEN_OFF =
  /NVRM: (?:The NVIDIA )?GPU (.{4,300}?)\bhas\s{1,40}(?:NVRM: )?\s{0,40}fallen off the bus/;
const ADDRESS = /NVRM: GPU at ([0-9A-Za-z:.]{4,32}): (GPU-[0-9a-fA-F-]{8,64})(?![0-9a-zA-Z-])/;

/**
 * Reads the text of a kernel-log record; undefined when it says nothing of a GPU or an NVSwitch. Forms
 * seen in public logs of drivers from 2012 to now:
 * "NVRM: Xid (0000:03:00): 14, Channel 00000001",
 * "NVRM: Xid (PCI:0000:41:00): 79, pid=1234, name=python, GPU has fallen off the bus.",
 * "NVRM: Xid (PCI:0000:41:00 GPU-I:05): 45, pid=…" (a MIG part),
 * "NVRM: GPU 0000:41:00.0: GPU has fallen off the bus.",
 * "NVRM: GPU at PCI:0000:41:00: GPU-5d9d77a0-…",
 * "nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress …". The lines of an SXid
 * that follow its first ("…: 12028, Severity 0 …", "…, Data {…}") only repeat it and are left out.
 */
export function parseDriverLine(text: string): DriverLine | undefined {
  return parseXid(text) ?? parseSxid(text) ?? parseFallenOff(text) ?? parseAddress(text);
}

function parseXid(text: string): DriverLine | undefined {
  const [, place = "", code] = XID.exec(text) ?? [];
  const pci = pciKeyIn(place.replace("PCI:", ""));
  if (pci === undefined || code === undefined) return undefined;
  return { kind: "xid", pci, code: Number(code) };
}

function parseSxid(text: string): DriverLine | undefined {
  const [, place = "", code, non] = SXID.exec(text) ?? [];
  const pci = pciKeyIn(place.replace("PCI:", ""));
  if (pci === undefined || code === undefined) return undefined;
  return { kind: "sxid", pci, code: Number(code), fatal: non === undefined };
}

function parseFallenOff(text: string): DriverLine | undefined {
  const place = FALLEN_OFF.exec(text)?.[1];
  const pci = place === undefined ? undefined : pciKeyIn(place.replace("PCI:", ""));
  return pci === undefined ? undefined : { kind: "fallen_off", pci };
}

function parseAddress(text: string): DriverLine | undefined {
  const [, place = "", uuid] = ADDRESS.exec(text) ?? [];
  const pci = pciKeyIn(place.replace("PCI:", ""));
  return pci === undefined || uuid === undefined ? undefined : { kind: "address", pci, uuid };
}
