const MAX_UINT32 = 0xffff_ffff;
/** Characters of a text that are kept: as many as a cluster-agent takes. Names of models have some 30. */
const MAX_TEXT = 256;

/** Words that stand where a value should be, without their brackets, in lower case. */
const NO_VALUE = new Set([
  "",
  "n/a",
  "none",
  "err!",
  "error",
  "not supported",
  "not available",
  "not found",
  "unknown error",
  "insufficient permissions",
  "gpu is lost",
  "gpu requires reset",
  "requested functionality has been deprecated",
]);

/**
 * Text of a value that `nvidia-smi` printed; undefined for all of the driver's words for "no value"
 * (`N/A`, `[N/A]`, `[Not Supported]`, `[Unknown Error]`, `ERR!`, …), anything else in brackets included.
 */
export function textOf(cell: string | undefined): string | undefined {
  const text = cell?.trim();
  if (text === undefined || text.startsWith("[") || NO_VALUE.has(text.toLowerCase())) {
    return undefined;
  }
  return text.slice(0, MAX_TEXT);
}

/** A decimal number without a unit; undefined for anything else. */
export function numberOf(cell: string | undefined): number | undefined {
  const text = textOf(cell);
  if (text === undefined || !/^-?\d{1,15}(\.\d{1,9})?$/.test(text)) return undefined;
  return Number(text);
}

/** A whole number from 0 to 2^32 - 1. */
export function wholeOf(cell: string | undefined): number | undefined {
  const value = numberOf(cell);
  return value !== undefined && Number.isInteger(value) && value >= 0 && value <= MAX_UINT32
    ? value
    : undefined;
}

/** A number from 0 to 100. */
export function percentOf(cell: string | undefined): number | undefined {
  const value = numberOf(cell);
  return value !== undefined && value >= 0 && value <= 100 ? value : undefined;
}

/** A whole number that is not negative, as protobuf's uint64 takes it. */
export function bigOf(cell: string | undefined): bigint | undefined {
  const value = numberOf(cell);
  return value !== undefined && Number.isInteger(value) && value >= 0 ? BigInt(value) : undefined;
}

/** "Enabled" or "Disabled". */
export function switchOf(cell: string | undefined): boolean | undefined {
  if (cell === "Enabled") return true;
  return cell === "Disabled" ? false : undefined;
}

/** "Yes" or "No". */
export function answerOf(cell: string | undefined): boolean | undefined {
  if (cell === "Yes") return true;
  return cell === "No" ? false : undefined;
}

/** A value in MiB with its unit: "81559 MiB". */
export function mebibytesOf(cell: string | undefined): bigint | undefined {
  const bare = /^(\d{1,15}) MiB$/.exec(cell?.trim() ?? "")?.[1];
  return bigOf(bare);
}

/** `{ [key]: value }`, or nothing where the value is not to be had. */
export function pick<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]: V });
}
