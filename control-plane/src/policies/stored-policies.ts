import { setImmediate } from "node:timers/promises";
import type { PolicyDefaults } from "@berth/policy-sandbox";
import type { DocumentStore } from "@berth/service-kit";
import type { PolicyRecord } from "./policy-record.ts";

/** Collection of the records. */
export const RECORDS = "policies";
/** Collection of the files, by digest. */
export const CODE = "policy_code";
/** Others have their turn when reading has taken so long, in ms. */
const MAX_READING_MS = 5;

/** A record as the store has it. */
export interface StoredPolicy extends PolicyDefaults {
  readonly record: PolicyRecord;
}

/**
 * Walks the records of an org in URI order. Each is read on its own, and others have their turn in between:
 * records that were stored before they had a bound may be as large as a request.
 */
export async function* storedPolicies(
  store: Pick<DocumentStore, "list">,
  orgId: string,
): AsyncGenerator<StoredPolicy> {
  const collection = { orgId, collection: RECORDS };
  let position: { readonly after?: string } = {};
  let sinceMs = performance.now();
  for (;;) {
    const [found] = await store.list<StoredPolicy>(collection, { limit: 1, ...position });
    if (found === undefined) return;
    yield found.body;
    position = { after: found.id };
    if (performance.now() - sinceMs < MAX_READING_MS) continue;
    await setImmediate();
    sinceMs = performance.now();
  }
}
