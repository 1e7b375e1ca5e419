const MAX_REMEMBERED = 4_096;

/**
 * Which evaluations must not overlap with another of their tenant, so that no change of a context gets lost.
 * What is not known, or forgotten again (the least recently noted goes first), runs alone.
 */
export class ContextUse {
  /** Tenants that were seen to keep something. */
  readonly #keeping = new Set<string>();
  /** Policies whose last context was empty, by tenant and URI. */
  readonly #empty = new Set<string>();

  /** Whether an evaluation may only run when no other of its tenant does; `uri` is null without a context. */
  runsAlone(tenant: string, uri: string | null): boolean {
    if (this.#keeping.has(tenant)) return true;
    return uri !== null && !this.#empty.has(keyOf(tenant, uri));
  }

  /** A context that was not empty was read or written. */
  noteKept(tenant: string): void {
    remember(this.#keeping, tenant);
  }

  /** An evaluation found its context empty and returned without having changed it. */
  noteEmpty(tenant: string, uri: string): void {
    remember(this.#empty, keyOf(tenant, uri));
  }
}

function keyOf(tenant: string, uri: string): string {
  return `${tenant.length}:${tenant}${uri}`;
}

function remember(names: Set<string>, name: string): void {
  names.delete(name);
  names.add(name);
  for (const oldest of names) {
    if (names.size <= MAX_REMEMBERED) return;
    names.delete(oldest);
  }
}
