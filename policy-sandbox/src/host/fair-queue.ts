/** Items that wait, by tenant; tenants take turns, so a long queue of one does not hold up the others. */
export class FairQueue<T> {
  readonly #byTenant = new Map<string, Set<T>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Tenants that have something waiting, the one whose turn is longest ago first. */
  tenants(): string[] {
    return [...this.#byTenant.keys()];
  }

  add(tenant: string, item: T): void {
    const items = this.#byTenant.get(tenant) ?? new Set<T>();
    items.add(item);
    this.#byTenant.set(tenant, items);
    this.#size += 1;
  }

  /** Everything that waits, as it is now. */
  items(): { tenant: string; item: T }[] {
    return [...this.#byTenant].flatMap(([tenant, items]) =>
      [...items].map((item) => ({ tenant, item })),
    );
  }

  /** Takes the tenant's oldest item and moves the tenant to the end of the line. */
  take(tenant: string): T | undefined {
    const items = this.#byTenant.get(tenant);
    const first = items?.values().next().value;
    if (items === undefined || first === undefined) return undefined;
    this.remove(tenant, first);
    if (items.size > 0) {
      this.#byTenant.delete(tenant);
      this.#byTenant.set(tenant, items);
    }
    return first;
  }

  /** False when the item does not wait any more. */
  remove(tenant: string, item: T): boolean {
    const items = this.#byTenant.get(tenant);
    if (items === undefined || !items.delete(item)) return false;
    this.#size -= 1;
    if (items.size === 0) this.#byTenant.delete(tenant);
    return true;
  }
}
