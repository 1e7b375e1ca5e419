import { BerthError, typeName } from "@berth/service-kit";
import type { Ownership } from "../runtime/runtime.ts";
import type { PlannedInstance } from "./instance-crew.ts";

const MAX_ID_CHARACTERS = 253;

/**
 * The planned instances with the leases that they take over, as `lease_ids` names them in their order; those behind the
 * last one have none. `lease_subject`, if given, is who holds them. A lease is taken over by whom it was given to: the
 * same control-plane's store, or a client of this cluster's own API. INVALID_ARGUMENT names the field.
 */
export function plannedLeases(
  { lease_ids: ids, lease_subject: subject }: Readonly<Record<string, unknown>>,
  planned: readonly PlannedInstance[],
  fence: Ownership["fence"] | undefined,
): readonly PlannedInstance[] {
  if (ids === undefined || ids === null) return planned;
  if (!Array.isArray(ids)) throw invalid(`lease_ids: expected a list, got ${typeName(ids)}`);
  if (ids.length > planned.length) {
    const most = `at most ${planned.length}, one for each instance`;
    throw invalid(`lease_ids: expected ${most}, got ${ids.length}`);
  }
  if (subject !== undefined && subject !== null && !isId(subject)) {
    throw invalid(`lease_subject: expected a text of 1-${MAX_ID_CHARACTERS} characters`);
  }
  if (new Set(ids).size < ids.length) throw invalid("lease_ids: expected different leases");
  const holder = isId(subject) ? { subject } : {};
  return planned.map((instance, place) => {
    if (place >= ids.length) return instance;
    const leaseId: unknown = ids[place];
    if (!isId(leaseId)) {
      throw invalid(`lease_ids.${place}: expected the id of a lease, got ${typeName(leaseId)}`);
    }
    return { ...instance, lease: { leaseId, storeId: fence?.storeId ?? "", ...holder } };
  });
}

function isId(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= MAX_ID_CHARACTERS;
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
