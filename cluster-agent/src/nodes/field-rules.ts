import { BerthError } from "@berth/service-kit";
import { isToken } from "./field-check.ts";

/** Most characters of a text in a fingerprint. */
export const MAX_TEXT = 256;

/** The text; INVALID_ARGUMENT that names the field when it is too long. */
export function text(field: string, value: string, limit = MAX_TEXT): string {
  if (value.length <= limit) return value;
  throw invalid(field, `at most ${limit} characters`, `${value.length}`);
}

/** The id; INVALID_ARGUMENT when it is none. */
export function token(field: string, value: string): string {
  if (isToken(value)) return value;
  throw invalid(field, "1-128 printable characters", JSON.stringify(value.slice(0, MAX_TEXT)));
}

/** The path; INVALID_ARGUMENT when it is none. */
export function path(field: string, value: string): string {
  if (value !== "" && value.length <= 4_096) return value;
  throw invalid(field, "a path of 1-4096 characters", `${value.length}`);
}

/** The whole number; INVALID_ARGUMENT when it is out of range. */
export function whole(field: string, value: number | bigint, min: number, max: number): number {
  return between(field, Number(value), min, max);
}

/** The number; INVALID_ARGUMENT when it is out of range. */
export function between(field: string, value: number, min: number, max: number): number {
  if (value >= min && value <= max) return value;
  throw invalid(field, `a number from ${min} to ${max}`, String(value));
}

/** INVALID_ARGUMENT when there are more items. */
export function atMost(field: string, items: readonly unknown[], limit: number): void {
  if (items.length > limit) throw invalid(field, `at most ${limit} items`, String(items.length));
}

/** INVALID_ARGUMENT when two values are the same. */
export function unique(field: string, values: readonly string[]): void {
  const seen = new Set<string>();
  for (const value of values) {
    if (seen.has(value)) throw invalid(field, "different values", `${value} twice`);
    seen.add(value);
  }
}

/** INVALID_ARGUMENT that names the field, what was expected and what came. */
export function invalid(field: string, expected: string, got: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", `${field}: expected ${expected}, got ${got}`);
}
