/** Faults that a simulated fleet can have. */
export const FAULT_KINDS = [
  "gpu-fail",
  "gpu-xid",
  "node-reboot",
  "node-partition",
  "smi-hang",
  "link-cut",
] as const;

/** One of {@link FAULT_KINDS}. */
export type FaultKind = (typeof FAULT_KINDS)[number];

/** One fault as it was asked for. */
export interface Fault {
  readonly kind: FaultKind;
  /** Time after the start of the fleet, or after the request, in ms. */
  readonly afterMs: number;
  /** "sim-0"; absent when it may be any. */
  readonly cluster?: string;
  /** Number of the node in its cluster; absent when it may be any. */
  readonly node?: number;
  /** Slot of the GPU; absent when it may be any. */
  readonly gpu?: number;
  /**
   * How long it lasts, in ms; absent when it lasts until the node is rebooted: then the kernel log tells of
   * a gpu-fail too (XID 79).
   */
  readonly lastsMs?: number;
  /** XID that is logged, of a gpu-xid; 79 takes the GPU off its bus until the node is rebooted. */
  readonly xid?: number;
}

/** What a fault strikes. */
export type FaultScope = "cluster" | "node" | "gpu";

const SCOPES: Readonly<Record<FaultKind, FaultScope>> = {
  "gpu-fail": "gpu",
  "gpu-xid": "gpu",
  "node-reboot": "node",
  "node-partition": "node",
  "smi-hang": "node",
  "link-cut": "cluster",
};

/** How long a fault lasts that does not say; a GPU stays lost, an XID only happens. */
const LASTS_MS: Readonly<Partial<Record<FaultKind, number>>> = {
  "node-reboot": 10_000,
  "node-partition": 60_000,
  "smi-hang": 120_000,
  "link-cut": 20_000,
};

/** XID of a gpu-xid that names none: a program's page fault. */
const DEFAULT_XID = 31;
const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;
const TIME = /^(\d{1,7})(ms|s|m|h)$/;
const TARGET = /^([a-z][a-z0-9-]{0,29}-\d{1,5})(?:\/node-(\d{1,5})(?:\/(\d{1,3}))?)?$/;
const MAX_FAULT_LENGTH = 200;
const MAX_TIME_MS = 24 * 3_600_000;
const DEPTHS: Readonly<Record<FaultScope, number>> = { cluster: 1, node: 2, gpu: 3 };

/** How a fault is written, for help and messages. */
export const FAULT_FORM =
  "[<after>] gpu-fail|gpu-xid|node-reboot|node-partition|smi-hang|link-cut [<cluster>[/node-<n>[/<gpu>]]] [<lasts>|<xid>], such as `30s gpu-fail sim-0/node-1/3`";

/** What a fault of this kind strikes. */
export function scopeOf(kind: FaultKind): FaultScope {
  return SCOPES[kind];
}

/** Reads one fault, see {@link FAULT_FORM}. Throws an Error that says what was expected. */
export function parseFault(text: string): Fault {
  const words = text.slice(0, MAX_FAULT_LENGTH).trim().split(/\s+/);
  const afterMs = timeOf(words[0]);
  if (afterMs !== undefined) words.shift();
  const kind = FAULT_KINDS.find((one) => one === words[0]);
  if (kind === undefined) throw wrong(text, `one of ${FAULT_KINDS.join(", ")}`);
  words.shift();
  const target = targetOf(words[0]);
  if (target !== undefined) words.shift();
  if (target !== undefined && target.depth > DEPTHS[SCOPES[kind]]) {
    throw wrong(text, `a ${SCOPES[kind]} as the target of ${kind}`);
  }
  const rest = kind === "gpu-xid" ? xidOf(words, text) : lastsOf(kind, words, text);
  if (words.length > 0) throw wrong(text, `nothing behind ${JSON.stringify(words[0])}`);
  return { kind, afterMs: afterMs ?? 0, ...target?.place, ...rest };
}

/** Reads a script: one fault per line or between semicolons; "#" begins a comment. */
export function parseFaultScript(text: string): Fault[] {
  return text
    .split(/[\n;]/)
    .map((line) => line.replace(/#.*$/, "").trim())
    .filter((line) => line !== "")
    .map(parseFault);
}

function xidOf(words: string[], text: string): Pick<Fault, "xid"> {
  const word = words.shift();
  if (word === undefined) return { xid: DEFAULT_XID };
  if (/^\d{1,3}$/.test(word)) return { xid: Number(word) };
  throw wrong(text, "the number of an XID");
}

function lastsOf(kind: FaultKind, words: string[], text: string): Pick<Fault, "lastsMs"> {
  const word = words.shift();
  const lastsMs = word === undefined ? LASTS_MS[kind] : timeOf(word);
  if (word !== undefined && lastsMs === undefined) throw wrong(text, "a time such as 60s");
  return lastsMs === undefined ? {} : { lastsMs };
}

function timeOf(word: string | undefined): number | undefined {
  const [, digits, unit] = TIME.exec(word ?? "") ?? [];
  if (digits === undefined) return undefined;
  return Math.min(MAX_TIME_MS, Number(digits) * UNIT_MS[(unit ?? "s") as keyof typeof UNIT_MS]);
}

function targetOf(word: string | undefined) {
  const [, cluster, node, gpu] = TARGET.exec(word ?? "") ?? [];
  if (cluster === undefined) return undefined;
  const place = {
    cluster,
    ...(node === undefined ? {} : { node: Number(node) }),
    ...(gpu === undefined ? {} : { gpu: Number(gpu) }),
  };
  return { depth: Object.keys(place).length, place };
}

function wrong(text: string, expected: string): Error {
  const shown = JSON.stringify(text.slice(0, MAX_FAULT_LENGTH));
  return new Error(`fault ${shown}: expected ${expected}; the form is ${FAULT_FORM}`);
}
