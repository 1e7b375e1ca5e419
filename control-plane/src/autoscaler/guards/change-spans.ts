import type { Direction } from "./guard-rules.ts";

/** Most entries for changes of one subject that are remembered. */
export const MAX_CHANGE_SPANS = 128;

/** A change of desired replicas that was made. */
export interface AcceptedChange {
  /** Unix time in milliseconds. */
  readonly atMs: number;
  readonly from: number;
  readonly to: number;
}

/**
 * One change, or several in a row that were merged. What exactly happened between its first and its
 * last moment is not known any more; every question about it is answered so that limits can only be
 * stricter.
 */
export interface ChangeSpan {
  /** Unix time of the first change, in milliseconds. */
  readonly firstMs: number;
  /** Unix time of the last change, in milliseconds. */
  readonly lastMs: number;
  /** Replicas before the first change. */
  readonly from: number;
  /** Replicas after the last change. */
  readonly to: number;
  /** Sum of what scale-ups added. */
  readonly added: number;
  /** Sum of what scale-downs took away. */
  readonly removed: number;
  /** Changes of direction within it. */
  readonly reversals: number;
  /** Direction of the first change. */
  readonly begins: Direction;
  /** Direction of the last change. */
  readonly ends: Direction;
}

/** The entry of one change; undefined when it changes nothing. */
export function spanOf({ atMs, from, to }: AcceptedChange): ChangeSpan | undefined {
  if (from === to) return undefined;
  const direction = to > from ? "up" : "down";
  return {
    ...{ firstMs: atMs, lastMs: atMs, from, to, reversals: 0 },
    ...{ added: Math.max(0, to - from), removed: Math.max(0, from - to) },
    ...{ begins: direction, ends: direction },
  };
}

/**
 * Merges neighbours of one direction whose last change was made by `untilMs`. Where no rate policy
 * looks at them any more this loses nothing: cooldown and flap budget ask for the last one of a
 * direction only.
 */
export function withoutOldRepeats(
  spans: readonly ChangeSpan[],
  untilMs: number,
): readonly ChangeSpan[] {
  const kept: ChangeSpan[] = [];
  for (const span of spans) {
    const last = kept.at(-1);
    const isRepeat = span.lastMs <= untilMs && span.begins === span.ends;
    if (last !== undefined && isRepeat && last.begins === span.begins && !turns(last, span)) {
      kept[kept.length - 1] = joined(last, span);
    } else kept.push(span);
  }
  return kept;
}

/**
 * At most `most` entries (from 1): the oldest neighbours of one direction are merged first, then
 * the oldest of any.
 */
export function mergedSpans(spans: readonly ChangeSpan[], most: number): readonly ChangeSpan[] {
  const kept = [...spans];
  while (kept.length > Math.max(1, most)) {
    const repeat = kept.findIndex((span, index) => {
      const next = kept[index + 1];
      return next !== undefined && !turns(span, next);
    });
    const at = Math.max(0, repeat);
    const [older, newer] = kept.slice(at, at + 2);
    if (older === undefined || newer === undefined) break;
    kept.splice(at, 2, joined(older, newer));
  }
  return kept;
}

/**
 * Replicas by which the changes since a moment, that moment not included, may have gone towards a
 * direction: those of the direction less those against it. Of a merged entry that is partly older
 * everything towards the direction counts, and nothing against it.
 */
export function netTowards(
  spans: readonly ChangeSpan[],
  direction: Direction,
  sinceMs: number,
): number {
  let net = 0;
  for (const { firstMs, lastMs, added, removed } of spans) {
    const [towards, against] = direction === "up" ? [added, removed] : [removed, added];
    if (lastMs > sinceMs) net += towards;
    if (firstMs > sinceMs) net -= against;
  }
  return net;
}

/**
 * The fewest and the most of the replicas since a moment that no change since then has made: those at
 * its start, and those that others than the autoscaler have set in between.
 */
export function givenSince(
  spans: readonly ChangeSpan[],
  current: number,
  sinceMs: number,
): { readonly least: number; readonly most: number } {
  const recent = spans.filter(({ lastMs }) => lastMs > sinceMs);
  const given = recent.map(({ from }) => from).filter((from, at) => from !== recent[at - 1]?.to);
  if (recent.at(-1)?.to !== current) given.push(current);
  return { least: Math.min(...given), most: Math.max(...given) };
}

/**
 * Changes of direction since a moment: those where the change before is later than that moment,
 * too.
 */
export function reversalsSince(spans: readonly ChangeSpan[], sinceMs: number): number {
  let reversals = 0;
  for (const [index, span] of spans.entries()) {
    if (span.lastMs <= sinceMs) continue;
    const next = spans[index + 1];
    reversals += span.reversals + (next !== undefined && turns(span, next) ? 1 : 0);
  }
  return reversals;
}

/** Unix time in milliseconds of the last change of a direction; undefined when there is none. */
export function lastChangeMs(
  spans: readonly ChangeSpan[],
  direction: Direction,
): number | undefined {
  const isTowards = ({ added, removed }: ChangeSpan) =>
    direction === "up" ? added > 0 : removed > 0;
  return spans.findLast(isTowards)?.lastMs;
}

/** Whether the second of two neighbours begins with a change of direction. */
function turns(older: ChangeSpan, newer: ChangeSpan): boolean {
  return older.ends !== newer.begins;
}

function joined(older: ChangeSpan, newer: ChangeSpan): ChangeSpan {
  return {
    ...{ firstMs: Math.min(older.firstMs, newer.firstMs), lastMs: newer.lastMs },
    ...{ from: older.from, to: newer.to },
    ...{ added: older.added + newer.added, removed: older.removed + newer.removed },
    reversals: older.reversals + newer.reversals + (turns(older, newer) ? 1 : 0),
    ...{ begins: older.begins, ends: newer.ends },
  };
}
