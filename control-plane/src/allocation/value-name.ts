import { isRawNumber, typeName } from "@berth/service-kit";

/** Characters of a number that a message repeats. */
const MAX_NUMBER = 40;

/**
 * What came where something else was expected, for messages: the type of a JSON value that was read with
 * `parseLossless`. A number that no double holds is named itself: it may be a number, and yet not one to be used.
 */
export function valueName(value: unknown): string {
  if (!isRawNumber(value)) return typeName(value);
  const { rawJSON } = value;
  if (Number.isFinite(Number(rawJSON))) return "number";
  return `the number ${rawJSON.length > MAX_NUMBER ? `${rawJSON.slice(0, MAX_NUMBER)}…` : rawJSON}`;
}
