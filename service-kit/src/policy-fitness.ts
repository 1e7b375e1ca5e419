import { jsonDepth, toNumber } from "./json.ts";

/** Deepest nesting of a cluster's values: policies get them a few levels down in an input of 64. */
const MAX_DEPTH = 48;

/**
 * Why no policy could be given a value, or undefined: it is nested deeper than `maxDepth` levels, or holds a number
 * that no double holds. One cluster's value that cannot be read would fail the decisions on all of them. Numbers
 * may be kept as text.
 */
export function unfitForPolicies(value: unknown, maxDepth = MAX_DEPTH): string | undefined {
  if (jsonDepth(value) > maxDepth) return `expected at most ${maxDepth} nested levels`;
  const waiting: unknown[] = [value];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const number = toNumber(next);
    if (number !== undefined) {
      if (!Number.isFinite(number)) return "a number is too large for a double";
      continue;
    }
    if (typeof next !== "object" || next === null) continue;
    for (const item of Object.values(next)) waiting.push(item ?? null);
  }
  return undefined;
}
