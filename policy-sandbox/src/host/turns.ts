import { FairQueue } from "./fair-queue.ts";
import type { PoolLimits } from "./pool-policy.ts";
import type { Refusal } from "./pool-task.ts";
import { TenantPace } from "./tenant-pace.ts";

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
  /** It has gone on for long. */
  late: boolean;
  /** That is its tenant's doing. */
  slow: boolean;
  /** What its tenant was known for when it started. */
  readonly began: "quick" | "slow" | "unknown";
  /** Which places it counts against: a late one may have to keep a quick place until a slow one is free. */
  place: "quick" | "slow";
}

type TurnLimits = Pick<
  PoolLimits,
  "maxRunning" | "maxPerTenant" | "maxSlow" | "maxLate" | "maxQueued" | "maxQueuedBytes"
>;

const MIB = 1024 * 1024;

/**
 * Who waits, how much runs, and who may start next. Slow runs have places of their own, and a tenant that was slow
 * lately starts only in one of those: slow policies wait for each other, nobody quick waits for them. One of
 * the quick places is for tenants that are known to be quick (ADR 13).
 */
export class Turns<W extends Waiting> {
  readonly #limits: TurnLimits;
  readonly #queue = new FairQueue<W>(({ bytes }) => bytes);
  readonly #runs = new Set<Run>();
  readonly #pace = new TenantPace();

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
    this.#pace.noteAsked(waiting.tenant);
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

  /** The tenant's next. */
  next(tenant: string): W | undefined {
    return this.#queue.first(tenant);
  }

  /** Whether the tenant's next may start now, as far as places go. */
  mayStart(tenant: string): boolean {
    const next = this.next(tenant);
    if (next === undefined || !this.#hasPlace(tenant)) return false;
    const running = this.#count((run) => run.tenant === tenant);
    return running === 0 || (running < this.#limits.maxPerTenant && !next.runsAlone());
  }

  /** Takes the tenant's next, which counts as running until its turn's `end`. */
  start(tenant: string): { readonly next: W; readonly turn: Turn } | undefined {
    const next = this.#queue.take(tenant);
    if (next === undefined) return undefined;
    const place = this.#pace.isSlow(tenant) ? "slow" : "quick";
    const began = place === "quick" && !this.#pace.isQuick(tenant) ? "unknown" : place;
    const turn: Run = { tenant, late: false, slow: false, began, place };
    this.#runs.add(turn);
    return { next, turn };
  }

  /** The turn has gone on for long: it leaves its quick place, at once or as soon as there is a slow one. */
  noteLate(turn: Turn): void {
    const run = this.#find(turn);
    if (run === undefined || this.#limits.maxSlow === 0) return;
    run.late = true;
    this.#moveLate();
  }

  /** It is its tenant that is slow: the next ones wait for slow places. */
  noteSlow(turn: Turn): void {
    const run = this.#find(turn);
    if (run === undefined || this.#limits.maxSlow === 0) return;
    run.slow = true;
    this.#pace.noteSlow(run.tenant);
    this.noteLate(turn);
  }

  /** The turn is over. */
  end(turn: Turn): void {
    const run = this.#find(turn);
    if (run === undefined) return;
    this.#runs.delete(run);
    if (run.slow) this.#pace.noteSlowEnd(run.tenant);
    else if (run.late) this.#pace.noteLateEnd(run.tenant);
    else this.#pace.noteQuick(run.tenant);
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
    const { maxRunning, maxSlow } = this.#limits;
    if (this.#pace.isSlow(tenant)) {
      // Those that turned out to be slow have places of their own: else a stream of them would be served for ever.
      return this.#count(({ began }) => began === "slow") < maxSlow && this.#hasSlowPlace(tenant);
    }
    if (this.#count(({ place }) => place === "quick") >= maxRunning) return false;
    if (maxSlow === 0 || this.#pace.isQuick(tenant)) return true;
    // Counted among their like only: whoever is known never has all places either, when it is another's turn.
    const unknown = this.#count(({ place, began }) => place === "quick" && began === "unknown");
    return unknown < Math.max(1, maxRunning - 1);
  }

  /** One tenant gets at most all but one of the slow places, too. */
  #hasSlowPlace(tenant: string): boolean {
    const own = this.#count((run) => run.place === "slow" && run.tenant === tenant);
    return this.slow < this.#limits.maxLate && own < Math.max(1, this.#limits.maxSlow - 1);
  }

  #moveLate(): void {
    for (const run of this.#runs) {
      if (!run.late || run.place === "slow") continue;
      if (this.#hasSlowPlace(run.tenant)) run.place = "slow";
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
