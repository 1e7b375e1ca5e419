import { BerthError } from "@berth/service-kit";

/** What a record may hold beside the code, in bytes of JSON text: it is read whenever policies are listed. */
export const MAX_RECORD_BYTES = 64 * 1024;

const FIELDS = [
  "description",
  "tags",
  "type",
  "metadata",
  "policy_input_schema",
  "policy_output_schema",
  "policy_settings_schema",
  "policy_parameters_schema",
  "policy_settings",
  "policy_parameters",
  "management_commands_schema",
  "functionality_data",
  "resource_estimates",
] as const;

/** A record or what is to become one. */
export type Sized = { readonly [field in (typeof FIELDS)[number]]?: unknown };

/** Bytes of JSON text that the fields beside the code have together. */
export function recordBytes(record: Sized): number {
  return FIELDS.reduce((sum, field) => sum + bytesOf(record[field]), 0);
}

/** Refuses a record that is too large; INVALID_ARGUMENT names the field that has most of it. */
export function checkRecordSize(record: Sized): void {
  const bytes = recordBytes(record);
  if (bytes <= MAX_RECORD_BYTES) return;
  const sizes = FIELDS.map((field) => ({ field, bytes: bytesOf(record[field]) }));
  const largest = sizes.reduce((one, other) => (other.bytes > one.bytes ? other : one));
  const message = `${largest.field}: it has ${largest.bytes} bytes of JSON; all that is not code may have ${MAX_RECORD_BYTES} together, and has ${bytes}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}

function bytesOf(value: unknown): number {
  return value === undefined ? 0 : Buffer.byteLength(JSON.stringify(value));
}
