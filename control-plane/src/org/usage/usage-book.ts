import type { SubjectReport, Usage, UsageReport } from "./usage-report.ts";

/** What the newest report said of a subject. */
export interface ReportedUsage extends Usage {
  readonly source: string;
  /** When it was measured, on this process's monotonic clock, ms. */
  readonly atMs: number;
}

/** What came of a report. */
export interface UsageTaken {
  /** Subjects of which it told something newer than what was known. */
  readonly taken: number;
  /** Subjects of which something newer was known, and subjects beyond the bound. */
  readonly ignored: number;
  /** A report of this name was taken before: nothing has changed. */
  readonly isDuplicate: boolean;
}

/** Bounds of {@link UsageBook}. */
export interface UsageLimits {
  readonly subjects: number;
  /** Names of reports that are remembered. */
  readonly events: number;
  /** What is older is forgotten, ms. */
  readonly keptMs: number;
}

/** The bounds that hold by default. */
export const USAGE_LIMITS: UsageLimits = {
  subjects: 100_000,
  events: 10_000,
  keptMs: 7 * 24 * 3_600_000,
};

/** A time that is ahead of ours by so much is taken for a wrong clock, ms: it counts as now. */
const AHEAD_MS = 60_000;

/** The newest usage that was reported of each subject. In memory: what was measured before a restart says nothing of now. */
export class UsageBook {
  readonly #limits: UsageLimits;
  readonly #subjects = new Map<string, ReportedUsage>();
  /** Names of reports, the oldest first. */
  readonly #events = new Set<string>();
  #lastAtMs: number | undefined;

  constructor(limits: UsageLimits = USAGE_LIMITS) {
    this.#limits = limits;
  }

  /** When the last report came, on the monotonic clock; undefined while none has. */
  get lastAtMs(): number | undefined {
    return this.#lastAtMs;
  }

  /**
   * Takes a report in. `nowMs` is of the monotonic clock, `wallMs` the time of day of the same moment, which tells the
   * report's age. Of two reports of a subject the one that was measured later counts, whichever came first.
   */
  take(
    { eventId, source, measuredAtMs, subjects }: UsageReport,
    { nowMs, wallMs }: { readonly nowMs: number; readonly wallMs: number },
  ): UsageTaken {
    if (eventId !== undefined && !this.#isNew(eventId)) {
      return { taken: 0, ignored: subjects.length, isDuplicate: true };
    }
    const ageMs = wallMs - (measuredAtMs ?? wallMs);
    const atMs = ageMs < -AHEAD_MS ? nowMs : nowMs - Math.max(0, ageMs);
    this.#lastAtMs = nowMs;
    this.#forget(nowMs);
    const taken = subjects.filter((one) => this.#takeOne(one, { source, atMs })).length;
    return { taken, ignored: subjects.length - taken, isDuplicate: false };
  }

  /** What is known of a subject and not too old. */
  of(subjectId: string, nowMs: number): ReportedUsage | undefined {
    const found = this.#subjects.get(subjectId);
    return found === undefined || nowMs - found.atMs > this.#limits.keptMs ? undefined : found;
  }

  /** Subjects of which something is known, that is not too old. */
  ids(nowMs: number): readonly string[] {
    return [...this.#subjects.keys()].filter((id) => this.of(id, nowMs) !== undefined);
  }

  #takeOne(
    { subjectId, ...usage }: SubjectReport,
    about: { readonly source: string; readonly atMs: number },
  ): boolean {
    const known = this.#subjects.get(subjectId);
    if (known !== undefined && known.atMs > about.atMs) return false;
    if (known === undefined && this.#subjects.size >= this.#limits.subjects) return false;
    this.#subjects.set(subjectId, { ...usage, ...about });
    return true;
  }

  #isNew(eventId: string): boolean {
    if (this.#events.has(eventId)) return false;
    this.#events.add(eventId);
    const [oldest] = this.#events;
    if (this.#events.size > this.#limits.events && oldest !== undefined) {
      this.#events.delete(oldest);
    }
    return true;
  }

  /** Makes room when there is none. */
  #forget(nowMs: number): void {
    if (this.#subjects.size < this.#limits.subjects) return;
    for (const [id, { atMs }] of this.#subjects) {
      if (nowMs - atMs > this.#limits.keptMs) this.#subjects.delete(id);
    }
  }
}
