import { BerthError, jsonDepth, updateLossless } from "@berth/service-kit";
import { type BlockEntry, DERIVED_FIELDS, ENTRY_LIMITS, parseBlockEntry } from "./block-entry.ts";
import { type BlockRecord, blockRecord } from "./block-records.ts";

/** What no update of an entry reaches; everything else of it can be changed. */
const IMMUTABLE = ["id", ...DERIVED_FIELDS];

/** Throws for an entry that shall not come after another one. */
export type EntryCheck = (changed: BlockEntry, before: BlockEntry) => void;

/**
 * The record with an update (plain fields or `$set $unset $inc $push $pull`) applied to its entry, whose numbers stay as they
 * were written. INVALID_ARGUMENT names what does not hold; what `check` throws is thrown.
 */
export function updatedRecord(
  known: BlockRecord,
  update: unknown,
  check?: EntryCheck,
): BlockRecord {
  if (jsonDepth(update) > ENTRY_LIMITS.depth) {
    const message = `the update: expected at most ${ENTRY_LIMITS.depth} nested levels`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  const changed = parseBlockEntry(updateLossless(known.written, update, IMMUTABLE));
  check?.(changed, known.entry);
  return blockRecord(changed, known);
}
