const ADDRESS = /^(?:PCI:)?(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([0-9a-f]{2})(?:\.[0-7])?$/i;

/**
 * One spelling for a PCI address, so that those of the kernel log ("PCI:0000:41:00") and of nvidia-smi
 * ("00000000:41:00.0") compare equal: "0000:41:00". The function is left out (a GPU's is 0), a missing
 * domain is 0. Undefined for anything that is no address.
 */
export function pciKey(text: string): string | undefined {
  const [, domain = "0", bus, device] = ADDRESS.exec(text.trim()) ?? [];
  if (bus === undefined || device === undefined) return undefined;
  const short = domain.toLowerCase().replace(/^0+/, "").padStart(4, "0");
  return `${short}:${bus.toLowerCase()}:${device.toLowerCase()}`;
}

/** The first PCI address with a domain in a line for people, as {@link pciKey} spells it. */
export function pciKeyIn(line: string): string | undefined {
  const found = /(?<![0-9a-f:])[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}(?:\.[0-7])?/i.exec(line)?.[0];
  return found === undefined ? undefined : pciKey(found);
}
