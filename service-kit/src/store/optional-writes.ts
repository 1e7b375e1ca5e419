import type { ApplyOutcome, DocumentKey, DocumentStore, Write } from "./document-store.ts";

/**
 * Applies writes in one transaction, and with them those of the optional writes that hold: an insert of what is
 * there already and a deletion of what is not there are left out.
 */
export async function applyWithOptional(
  store: Pick<DocumentStore, "apply">,
  needed: readonly Write[],
  optional: readonly Write[],
): Promise<ApplyOutcome> {
  for (let left = optional; ; ) {
    const outcome = await store.apply([...needed, ...left]);
    if (outcome.kind === "applied") return outcome;
    const fewer = left.filter(({ key }) => !isSame(key, outcome.key));
    if (fewer.length === left.length) return outcome;
    left = fewer;
  }
}

function isSame(one: DocumentKey, other: DocumentKey): boolean {
  const isOneKind = one.orgId === other.orgId && one.collection === other.collection;
  return isOneKind && one.id === other.id;
}
