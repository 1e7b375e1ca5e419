import { FairQueue } from "./fair-queue.ts";
import type { PoolLimits } from "./pool-policy.ts";
import type { Refusal } from "./pool-task.ts";

/** An evaluation that waits for its turn. */
export interface Waiting {
  readonly tenant: string;
  /** Asked whenever it could start: whether it has to wait until no other of its tenant runs. */
  readonly runsAlone: () => boolean;
  readonly refuse: (refusal: Refusal) => void;
}

/** Who waits, how much runs, and who may start next. */
export class Turns<W extends Waiting> {
  readonly #limits: Pick<PoolLimits, "maxRunning" | "maxPerTenant" | "maxQueued">;
  readonly #queue = new FairQueue<W>();
  readonly #byTenant = new Map<string, number>();
  #running = 0;

  constructor(limits: Pick<PoolLimits, "maxRunning" | "maxPerTenant" | "maxQueued">) {
    this.#limits = limits;
  }

  get running(): number {
    return this.#running;
  }

  get queued(): number {
    return this.#queue.size;
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

  /** Refuses what is too much after a newcomer of this tenant: the newest of the tenant that has most waiting. */
  trim(newcomer: string): void {
    const { maxQueued } = this.#limits;
    while (this.#queue.size > maxQueued) {
      const message = `${maxQueued} evaluations are waiting already`;
      this.#queue.takeNewestOfLongest(newcomer)?.refuse({ kind: "overloaded", message });
    }
  }

  /** False when it does not wait any more. */
  leave(waiting: W): boolean {
    return this.#queue.remove(waiting.tenant, waiting);
  }

  /** Whether the tenant's next may start now, as far as places go. */
  mayStart(tenant: string): boolean {
    const next = this.#queue.first(tenant);
    if (next === undefined || this.#running >= this.#limits.maxRunning) return false;
    const running = this.#byTenant.get(tenant) ?? 0;
    return running === 0 || (running < this.#limits.maxPerTenant && !next.runsAlone());
  }

  /** Takes the tenant's next, which counts as running until `end`. */
  start(tenant: string): W | undefined {
    const next = this.#queue.take(tenant);
    if (next === undefined) return undefined;
    this.#running += 1;
    this.#byTenant.set(tenant, (this.#byTenant.get(tenant) ?? 0) + 1);
    return next;
  }

  /** One of the tenant's has ended. */
  end(tenant: string): void {
    this.#running -= 1;
    const left = (this.#byTenant.get(tenant) ?? 1) - 1;
    if (left > 0) this.#byTenant.set(tenant, left);
    else this.#byTenant.delete(tenant);
  }

  /** Refuses everybody for whom there is a refusal. */
  refuse(refusalOf: (waiting: W) => Refusal | null): void {
    for (const { item } of this.#queue.items()) {
      const refusal = refusalOf(item);
      if (refusal !== null && this.leave(item)) item.refuse(refusal);
    }
  }
}
