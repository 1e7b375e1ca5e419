import { FairQueue } from "./fair-queue.ts";
import type { PoolLimits } from "./pool-policy.ts";
import type { Refusal } from "./pool-task.ts";

/** An evaluation that waits for its turn. */
export interface Waiting {
  readonly tenant: string;
  /** What it keeps in memory while it waits. */
  readonly bytes: number;
  /** Asked whenever it could start: whether it has to wait until no other of its tenant runs. */
  readonly runsAlone: () => boolean;
  readonly refuse: (refusal: Refusal) => void;
}

/** One that runs, from `start` to `end`. */
export interface Turn {
  readonly tenant: string;
}

interface Run extends Turn {
  /** It has been told to be slow. */
  late: boolean;
  /** Which places it counts against: a late one may have to keep a quick place until a slow one is free. */
  place: "quick" | "slow";
}

type TurnLimits = Pick<
  PoolLimits,
  "maxRunning" | "maxPerTenant" | "maxSlow" | "maxQueued" | "maxQueuedBytes"
>;

const MIB = 1024 * 1024;

/** Tenants whose slowness is remembered; the one that has been slow longest ago is forgotten first. */
const MAX_KNOWN_SLOW = 10_000;

/**
 * Who waits, how much runs, and who may start next. Slow runs have places of their own, and a tenant whose last run
 * was slow starts only in one of those: slow policies wait for each other, nobody quick waits for them (ADR 13).
 */
export class Turns<W extends Waiting> {
  readonly #limits: TurnLimits;
  readonly #queue = new FairQueue<W>(({ bytes }) => bytes);
  readonly #runs = new Set<Run>();
  readonly #knownSlow = new Set<string>();

  constructor(limits: TurnLimits) {
    this.#limits = limits;
  }

  get running(): number {
    return this.#runs.size;
  }

  /** How many of those that run have a slow place. */
  get slow(): number {
    return this.#count(({ place }) => place === "slow");
  }

  get queued(): number {
    return this.#queue.size;
  }

  /** Bytes of what waits. */
  get queuedBytes(): number {
    return this.#queue.weight;
  }

  /** Tenants that have something waiting, the one whose turn is longest ago first. */
  tenants(): string[] {
    return this.#queue.tenants();
  }

  add(waiting: W): void {
    this.#queue.add(waiting.tenant, waiting);
  }

  /** Lets one wait again that was started but has not begun: it is its tenant's next. */
  putBack(waiting: W): void {
    this.#queue.addFirst(waiting.tenant, waiting);
  }

  /**
   * Refuses what is too much after a newcomer of this tenant: the newest of the tenant that has most waiting, counted
   * in evaluations or in bytes as either is too much.
   */
  trim(newcomer: string): void {
    const { maxQueued, maxQueuedBytes } = this.#limits;
    while (this.#queue.size > maxQueued) {
      const message = `${maxQueued} evaluations are waiting already`;
      this.#queue.takeNewestOfLongest(newcomer)?.refuse({ kind: "overloaded", message });
    }
    while (this.queuedBytes > maxQueuedBytes) {
      const message = `evaluations with ${maxQueuedBytes / MIB} MiB of input are waiting already`;
      this.#queue.takeNewestOfHeaviest(newcomer)?.refuse({ kind: "overloaded", message });
    }
  }

  /** False when it does not wait any more. */
  leave(waiting: W): boolean {
    return this.#queue.remove(waiting.tenant, waiting);
  }

  /** Whether the tenant's next may start now, as far as places go. */
  mayStart(tenant: string): boolean {
    const next = this.#queue.first(tenant);
    if (next === undefined || !this.#hasPlace(tenant)) return false;
    const running = this.#count((run) => run.tenant === tenant);
    return running === 0 || (running < this.#limits.maxPerTenant && !next.runsAlone());
  }

  /** Takes the tenant's next, which counts as running until its turn's `end`. */
  start(tenant: string): { readonly next: W; readonly turn: Turn } | undefined {
    const next = this.#queue.take(tenant);
    if (next === undefined) return undefined;
    const place = this.#knownSlow.has(tenant) ? "slow" : "quick";
    const turn: Run = { tenant, late: false, place };
    this.#runs.add(turn);
    return { next, turn };
  }

  /** The turn has gone on for long: it leaves its quick place, at once or as soon as there is a slow one. */
  noteSlow(turn: Turn): void {
    const run = this.#find(turn);
    if (run === undefined || this.#limits.maxSlow === 0) return;
    run.late = true;
    this.#remember(run.tenant);
    this.#moveLate();
  }

  /** The turn is over. */
  end(turn: Turn): void {
    const run = this.#find(turn);
    if (run === undefined) return;
    this.#runs.delete(run);
    if (!run.late) this.#knownSlow.delete(run.tenant);
    this.#moveLate();
  }

  /** Refuses everybody for whom there is a refusal. */
  refuse(refusalOf: (waiting: W) => Refusal | null): void {
    for (const { item } of this.#queue.items()) {
      const refusal = refusalOf(item);
      if (refusal !== null && this.leave(item)) item.refuse(refusal);
    }
  }

  #hasPlace(tenant: string): boolean {
    if (this.#knownSlow.has(tenant)) return this.#hasSlowPlace(tenant);
    return this.#count(({ place }) => place === "quick") < this.#limits.maxRunning;
  }

  /** One tenant gets at most all but one of the slow places, too. */
  #hasSlowPlace(tenant: string): boolean {
    const { maxSlow } = this.#limits;
    const own = this.#count((run) => run.place === "slow" && run.tenant === tenant);
    return this.slow < maxSlow && own < Math.max(1, maxSlow - 1);
  }

  #moveLate(): void {
    for (const run of this.#runs) {
      if (run.late && run.place === "quick" && this.#hasSlowPlace(run.tenant)) run.place = "slow";
    }
  }

  #remember(tenant: string): void {
    this.#knownSlow.delete(tenant);
    this.#knownSlow.add(tenant);
    const [oldest] = this.#knownSlow;
    if (this.#knownSlow.size > MAX_KNOWN_SLOW && oldest !== undefined) {
      this.#knownSlow.delete(oldest);
    }
  }

  #find(turn: Turn): Run | undefined {
    for (const run of this.#runs) if (run === turn) return run;
    return undefined;
  }

  /** As many run as there are workers: few. */
  #count(counts: (run: Run) => boolean): number {
    let count = 0;
    for (const run of this.#runs) if (counts(run)) count += 1;
    return count;
  }
}
