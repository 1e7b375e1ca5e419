/**
 * Bits of `clocks_event_reasons.active` (before driver 535: `clocks_throttle_reasons.active`) with the
 * names that nvidia-smi gives them. Source: nvml.h, `nvmlClocksEventReason*`.
 */
const NAMES: readonly (readonly [bit: number, name: string])[] = [
  [0x1, "gpu_idle"],
  [0x2, "applications_clocks_setting"],
  [0x4, "sw_power_cap"],
  [0x8, "hw_slowdown"],
  [0x10, "sync_boost"],
  [0x20, "sw_thermal_slowdown"],
  [0x40, "hw_thermal_slowdown"],
  [0x80, "hw_power_brake_slowdown"],
  [0x100, "display_clocks_setting"],
];
const KNOWN_BITS = NAMES.reduce((mask, [bit]) => mask | BigInt(bit), 0n);

/**
 * Names of the reasons in a bit mask such as "0x0000000000000044", lowest bit first. Bits that have no
 * name here are told together: "unknown_0x400". Empty for no reason and for anything that is no mask.
 */
export function throttleReasons(cell: string | undefined): string[] {
  const digits = /^0x([0-9a-fA-F]{1,16})$/.exec(cell?.trim() ?? "")?.[1];
  if (digits === undefined) return [];
  const mask = BigInt(`0x${digits}`);
  const reasons = NAMES.filter(([bit]) => (mask & BigInt(bit)) !== 0n).map(([, name]) => name);
  const rest = mask & ~KNOWN_BITS;
  return rest === 0n ? reasons : [...reasons, `unknown_0x${rest.toString(16)}`];
}
