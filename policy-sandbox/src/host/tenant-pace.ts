/** Tenants that are remembered; the one that ran longest ago is forgotten first. */
const MAX_TENANTS = 10_000;
/** Quick runs in a row after which a slow tenant counts as quick again. */
const RUNS_TO_FORGET = 16;

/** Which tenants have been slow lately, and which are known to be quick. */
export class TenantPace {
  /** Quick runs that a tenant owes until it counts as quick; 0 when it does. */
  readonly #owed = new Map<string, number>();

  /** It has been slow, and has not been quick often enough since. */
  isSlow(tenant: string): boolean {
    return (this.#owed.get(tenant) ?? 0) > 0;
  }

  /** It has run, and has not been slow lately. */
  isQuick(tenant: string): boolean {
    return this.#owed.get(tenant) === 0;
  }

  /** A run of it has gone on for long. */
  noteSlow(tenant: string): void {
    this.#set(tenant, RUNS_TO_FORGET);
  }

  /** A run of it has ended soon. */
  noteQuick(tenant: string): void {
    this.#set(tenant, Math.max(0, (this.#owed.get(tenant) ?? 0) - 1));
  }

  #set(tenant: string, owed: number): void {
    this.#owed.delete(tenant);
    this.#owed.set(tenant, owed);
    const [oldest] = this.#owed.keys();
    if (this.#owed.size > MAX_TENANTS && oldest !== undefined) this.#owed.delete(oldest);
  }
}
