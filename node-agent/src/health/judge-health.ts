import type { ConditionKind, Signal } from "./health-signals.ts";

/** What is known of one condition of one GPU or node. */
export interface Condition {
  readonly kind: ConditionKind;
  readonly subject: string;
  readonly gpuUuid: string;
  /** Whether it holds; one that flaps has to show several times before it does. */
  readonly holds: boolean;
  readonly evidence: string;
  /** When it first showed, of this time. */
  readonly sinceMs: number;
  /** Readings in a row that it showed in. */
  readonly shown: number;
  /** When its newest reading was taken. */
  readonly readAtMs: number;
  /** Since when it no longer shows; undefined while it does. */
  readonly absentSinceMs: number | undefined;
}

/** Conditions by `<kind>/<subject>`. Those that neither hold nor show are not in it. */
export type Conditions = ReadonlyMap<string, Condition>;

/** When a condition begins and ceases to hold. */
interface Rule {
  /** It holds when it has shown in this many readings in a row, or for this long. */
  readonly readings: number;
  readonly enterMs: number;
  /** It ceases to hold when it has not shown for this long. */
  readonly leaveMs: number;
}

const AT_ONCE: Rule = { readings: 1, enterMs: 0, leaveMs: 0 };

/** A GPU at its limit goes in and out of it; a single reading is no condition, a pause no end. */
const FLAPPING: Rule = { readings: 3, enterMs: 10_000, leaveMs: 30_000 };

const RULES: Readonly<Record<ConditionKind, Rule>> = {
  ecc_uncorrected: AT_ONCE,
  row_remap_pending: AT_ONCE,
  row_remap_failed: AT_ONCE,
  thermal_slowdown: FLAPPING,
  power_brake: FLAPPING,
  fallen_off_bus: AT_ONCE,
  driver_hung: AT_ONCE,
  info_rom_corrupted: AT_ONCE,
};

/** Two ages of one reading differ by their rounding. */
const SAME_READING_MS = 2;

/** Most conditions that are kept: all kinds for 64 GPUs. */
const MAX_CONDITIONS = 512;

/**
 * The conditions after one more observation; pure. What no signal speaks of stays as it was: a GPU that
 * cannot be read is not well.
 */
export function judgeHealth(before: Conditions, signals: readonly Signal[]): Conditions {
  const after = new Map(before);
  for (const signal of signals) {
    // Nearly every round: nothing shows, and nothing did.
    if (!signal.present && after.size === 0) continue;
    const key = `${signal.kind}/${signal.subject}`;
    const next = nextCondition(before.get(key), signal);
    if (next === undefined) after.delete(key);
    else if (after.has(key) || after.size < MAX_CONDITIONS) after.set(key, next);
  }
  return after;
}

function nextCondition(before: Condition | undefined, signal: Signal): Condition | undefined {
  if (before !== undefined && isOld(before, signal)) return before;
  return signal.present ? shown(before, signal) : notShown(before, signal);
}

/** Whether this reading, or for what does not count them a newer one, was judged before. */
function isOld({ kind, readAtMs }: Condition, signal: Signal): boolean {
  const rule = RULES[kind];
  return signal.readAtMs <= readAtMs + (rule === FLAPPING ? SAME_READING_MS : -SAME_READING_MS);
}

function shown(before: Condition | undefined, signal: Signal): Condition {
  const { kind, subject, gpuUuid, evidence, readAtMs } = signal;
  const rule = RULES[kind];
  const count = (before?.shown ?? 0) + 1;
  const sinceMs = before?.sinceMs ?? readAtMs;
  const holds =
    before?.holds === true || count >= rule.readings || readAtMs - sinceMs >= rule.enterMs;
  // What flaps keeps the evidence it began with: another reason is no other fact.
  const kept = rule === FLAPPING && before !== undefined ? before.evidence : evidence;
  return {
    kind,
    subject,
    gpuUuid,
    holds,
    evidence: kept,
    sinceMs,
    shown: count,
    readAtMs,
    absentSinceMs: undefined,
  };
}

function notShown(before: Condition | undefined, signal: Signal): Condition | undefined {
  if (before === undefined || !before.holds) return undefined;
  const absentSinceMs = before.absentSinceMs ?? signal.readAtMs;
  if (signal.readAtMs - absentSinceMs >= RULES[before.kind].leaveMs) return undefined;
  return { ...before, shown: 0, readAtMs: signal.readAtMs, absentSinceMs };
}
