import type { Hold } from "./claim.ts";

interface Place {
  readonly nodeId: string;
  /** Holder of the lease; undefined for an allocation. */
  readonly subject: string | undefined;
}

/**
 * Where each hold is: every id that a node's document has, or will have once what is being written is written. An id
 * leaves only when its removal is durable.
 */
export class HoldIndex {
  readonly #places = new Map<string, Place>();
  readonly #leases = new Map<string, Set<string>>();
  #leaseCount = 0;

  /** Leases of all subjects. */
  get leaseCount(): number {
    return this.#leaseCount;
  }

  /** Node of a hold; undefined when no hold has the id. */
  nodeOf(id: string): string | undefined {
    return this.#places.get(id)?.nodeId;
  }

  /** Ids of the leases of a subject, or of all. */
  *leaseIds(subject?: string): Generator<string> {
    if (subject !== undefined) return yield* this.#leases.get(subject) ?? [];
    for (const ids of this.#leases.values()) yield* ids;
  }

  /** Number of leases of a subject. */
  leasesOf(subject: string): number {
    return this.#leases.get(subject)?.size ?? 0;
  }

  /** Enters a hold, in place of an older one of that id. */
  add(hold: Hold): void {
    const { id, claim } = hold;
    this.#drop(id);
    const subject = hold.kind === "lease" ? hold.subject : undefined;
    this.#places.set(id, { nodeId: claim.nodeId, subject });
    if (subject === undefined) return;
    const ids = this.#leases.get(subject) ?? new Set();
    this.#leases.set(subject, ids.add(id));
    this.#leaseCount += 1;
  }

  /** Strikes a hold out, unless it is on another node by now. */
  remove(id: string, nodeId: string): void {
    if (this.nodeOf(id) === nodeId) this.#drop(id);
  }

  #drop(id: string): void {
    const place = this.#places.get(id);
    if (place === undefined) return;
    this.#places.delete(id);
    const { subject } = place;
    if (subject === undefined) return;
    this.#leaseCount -= 1;
    const ids = this.#leases.get(subject);
    ids?.delete(id);
    if (ids?.size === 0) this.#leases.delete(subject);
  }
}
