import type { Claim } from "../ledger/claim.ts";

/**
 * Claims that were chosen and are on their way to the ledger. Whoever chooses meanwhile leaves them alone, so that callers of
 * one moment do not all choose the same free GPU; the ledger decides all the same.
 */
export class PendingClaims {
  readonly #groups = new Set<ClaimGroup>();

  /** Begins a group: to be ended when the ledger has answered. */
  begin(): ClaimGroup {
    const group = new ClaimGroup((ended) => this.#groups.delete(ended));
    this.#groups.add(group);
    return group;
  }

  /** The claims of all groups but one's own. */
  others(own: ClaimGroup | undefined): readonly Claim[] {
    return [...this.#groups].flatMap((group) => (group === own ? [] : group.claims));
  }
}

/** Claims that are taken together. */
export class ClaimGroup {
  readonly claims: Claim[] = [];
  readonly #end: (group: ClaimGroup) => void;

  constructor(end: (group: ClaimGroup) => void) {
    this.#end = end;
  }

  /** The ledger has answered, whatever it was. */
  end(): void {
    this.#end(this);
  }
}
