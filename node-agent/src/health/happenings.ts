import type { HealthClass } from "@berth/proto";
import { type DriverLine, parseDriverLine } from "./driver-line.ts";
import type { FallenGpu } from "./health-signals.ts";
import type { KernelMessage } from "./kernel-log.ts";
import { sxidClass, xidClass } from "./xid-table.ts";

/** Something that happened once: an error line of a driver. */
export interface Happening {
  /** Number of its message in the kernel log. */
  readonly seq: number;
  readonly atMs: number;
  readonly kind: "xid" | "sxid";
  readonly code: number;
  /** Where it happened, as `pciKey` spells it. */
  readonly pci: string;
  readonly healthClass: HealthClass;
  readonly line: string;
}

/** Most happenings that are kept. */
export const MAX_HAPPENINGS = 64;

/** Most addresses that are remembered: more than a machine has. */
const MAX_ADDRESSES = 256;

const FALLEN_OFF_BUS = 79;

/**
 * What the kernel log says of GPUs and NVSwitches. Bounded: of more than 64 happenings the least grave
 * are dropped, the oldest of those first, so that a program which makes the driver write a line per
 * millisecond hides no broken GPU.
 */
export class Happenings {
  readonly #kept: Happening[] = [];
  readonly #fallen = new Map<string, FallenGpu>();
  readonly #uuids = new Map<string, string>();

  /** What is kept, in the order it happened. */
  get kept(): readonly Happening[] {
    return this.#kept;
  }

  /** When GPUs (by PCI address) fell off their bus last. */
  get fallen(): ReadonlyMap<string, FallenGpu> {
    return this.#fallen;
  }

  /** UUIDs that the driver named, by PCI address. */
  get uuids(): ReadonlyMap<string, string> {
    return this.#uuids;
  }

  /** Takes one message of the kernel log; tells whether it says anything. */
  take(message: KernelMessage): boolean {
    const line = parseDriverLine(message.text);
    if (line === undefined) return false;
    if (line.kind === "address") remember(this.#uuids, line.pci, line.uuid);
    else if (line.kind === "fallen_off") this.#fall(line.pci, message);
    else this.#add(line, message);
    return true;
  }

  #add(line: Extract<DriverLine, { kind: "xid" | "sxid" }>, message: KernelMessage): void {
    const { kind, code, pci } = line;
    const { seq, atMs, text } = message;
    const healthClass = line.kind === "xid" ? xidClass(code, text) : sxidClass(line.fatal);
    if (kind === "xid" && code === FALLEN_OFF_BUS) this.#fall(pci, message);
    this.#kept.push({ seq, atMs, kind, code, pci, healthClass, line: text });
    if (this.#kept.length > MAX_HAPPENINGS) this.#kept.splice(leastGrave(this.#kept), 1);
  }

  #fall(pci: string, { atMs, text }: KernelMessage): void {
    remember(this.#fallen, pci, { atMs, line: text });
  }
}

/** Index of the oldest of the least grave ones. */
function leastGrave(happenings: readonly Happening[]): number {
  const classes: number[] = happenings.map(({ healthClass }) => healthClass);
  return classes.indexOf(Math.min(...classes));
}

function remember<V>(map: Map<string, V>, key: string, value: V): void {
  if (map.has(key) || map.size < MAX_ADDRESSES) map.set(key, value);
}
