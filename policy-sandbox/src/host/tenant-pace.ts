/** Tenants that are remembered; the one that ran longest ago is forgotten first. */
const MAX_TENANTS = 10_000;
/** Quick runs in a row after which slow ones before them count no more. */
const RUNS_TO_FORGET = 16;
/** Time after which they count no more either: a tenant that is asked seldom would be slow for hours otherwise. */
const FORGET_AFTER_MS = 10_000;
/** One slow run may be the machine's doing. */
const RUNS_TO_BE_SLOW = 2;
/** Late runs without a quick one in between that are excused: whoever is late each time is slow, cold or not. */
const EXCUSED_RUNS = 2;

interface Pace {
  /** Runs that were slow, since they were forgotten last. */
  readonly slowRuns: number;
  /** Runs that were late and excused, since its last quick one. */
  readonly lateRuns: number;
  /** Quick runs in a row since then. */
  readonly quickRuns: number;
  /** Whether it counts as quick: it was before its only slow run, or is again. */
  readonly isQuick: boolean;
  readonly slowAtMs: number;
}

const UNKNOWN: Pace = { slowRuns: 0, lateRuns: 0, quickRuns: 0, isQuick: false, slowAtMs: 0 };

/** Which tenants have been slow lately, and which are known to be quick. */
export class TenantPace {
  readonly #nowMs: () => number;
  readonly #paces = new Map<string, Pace>();

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** It has been slow twice, and has not been quick often enough since. */
  isSlow(tenant: string): boolean {
    return this.#paceOf(tenant).slowRuns >= RUNS_TO_BE_SLOW;
  }

  /** It has run, and has not been slow lately, or once only. */
  isQuick(tenant: string): boolean {
    return this.#paceOf(tenant).isQuick;
  }

  /** It is asked for a run. */
  noteAsked(tenant: string): void {
    const { slowRuns, lateRuns, slowAtMs } = this.#paceOf(tenant);
    if (slowRuns + lateRuns > 0 && this.#nowMs() - slowAtMs >= FORGET_AFTER_MS)
      this.#paces.delete(tenant);
  }

  /** A run of it has gone on for long. */
  noteSlow(tenant: string): void {
    const pace = this.#paceOf(tenant);
    const slowRuns = pace.slowRuns + 1;
    const isQuick = slowRuns < RUNS_TO_BE_SLOW && pace.isQuick;
    const { lateRuns } = pace;
    this.#set(tenant, { slowRuns, lateRuns, quickRuns: 0, isQuick, slowAtMs: this.#nowMs() });
  }

  /** A run of it that has gone on for long, and was excused, has ended. */
  noteLateEnd(tenant: string): void {
    const pace = this.#paceOf(tenant);
    const lateRuns = pace.lateRuns + 1;
    this.#set(tenant, { ...pace, lateRuns, slowAtMs: this.#nowMs() });
    if (lateRuns > EXCUSED_RUNS) this.noteSlow(tenant);
  }

  /** A run of it that was told to be slow has ended: it is as long ago as that. */
  noteSlowEnd(tenant: string): void {
    this.#set(tenant, { ...this.#paceOf(tenant), slowAtMs: this.#nowMs() });
  }

  /** A run of it has ended soon. */
  noteQuick(tenant: string): void {
    const pace = this.#paceOf(tenant);
    const quickRuns = pace.quickRuns + 1;
    const forgets = quickRuns >= RUNS_TO_FORGET;
    const slowRuns = forgets ? 0 : pace.slowRuns;
    const isQuick = slowRuns < RUNS_TO_BE_SLOW;
    const { slowAtMs } = pace;
    this.#set(tenant, { slowRuns, lateRuns: 0, quickRuns, isQuick, slowAtMs });
  }

  #paceOf(tenant: string): Pace {
    return this.#paces.get(tenant) ?? UNKNOWN;
  }

  #set(tenant: string, pace: Pace): void {
    this.#paces.delete(tenant);
    this.#paces.set(tenant, pace);
    const [oldest] = this.#paces.keys();
    if (this.#paces.size > MAX_TENANTS && oldest !== undefined) this.#paces.delete(oldest);
  }
}
