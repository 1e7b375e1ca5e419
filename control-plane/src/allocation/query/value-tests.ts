import { type CompiledPattern, isJsonObject } from "@berth/service-kit";
import { type QuerySteps, TOO_LONG, type Verdict } from "./query-steps.ts";

/** Whether a value of a document is what a condition asks for. Takes steps. */
export type ValueTest = (found: unknown, steps: QuerySteps) => Verdict;

/** Compares two numbers, or the order of two texts with 0. */
export type Compare = (a: number, b: number) => boolean;

/** Steps of a pattern, one for each character, that count as one step of a query: about 30 ns. */
const PATTERN_STEPS = 4;
/** Characters that are compared in one step. */
const COMPARED_CHARACTERS = 256;

/** Whether a text holds the pattern. */
export function holdsPattern({ matches, steps: each }: CompiledPattern): ValueTest {
  return (found, steps) => {
    const characters = typeof found === "string" ? found.length : 0;
    if (!steps.take(1 + Math.ceil((characters * each) / PATTERN_STEPS))) return TOO_LONG;
    return typeof found === "string" && matches(found);
  };
}

/** Range operators compare within one type only: numbers, or texts by code point. */
export function isInRange(value: unknown, compare: Compare): ValueTest {
  const wanted = asNumber(value);
  return (found, steps) => {
    if (!takeForScalar(found, steps)) return TOO_LONG;
    if (typeof found === "string" && typeof value === "string") {
      return compare(found === value ? 0 : found < value ? -1 : 1, 0);
    }
    return typeof found === "number" && wanted !== undefined && compare(found, wanted);
  };
}

/** Whether a value is one of the items: by value, numbers also when the item has them as text. */
export function sameAsAny(items: readonly unknown[]): ValueTest {
  const scalars = new Set<unknown>();
  const numbers = new Set<number>();
  const containers: unknown[] = [];
  for (const item of items) {
    const number = asNumber(item);
    if (number !== undefined) numbers.add(number);
    if (typeof item === "object" && item !== null) containers.push(item);
    else scalars.add(item);
  }
  return (found, steps) => {
    if (!takeForScalar(found, steps)) return TOO_LONG;
    if (typeof found === "number") return numbers.has(found);
    if (typeof found !== "object" || found === null) return scalars.has(found);
    for (const item of containers) {
      const verdict = isSame(found, item, steps);
      if (verdict !== false) return verdict;
    }
    return false;
  };
}

/** A number, also one in text: the existing registry casts by its schema, and shipped samples rely on it. */
export function asNumber(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value !== "string" || value.trim() === "") return undefined;
  const number = Number(value);
  return Number.isFinite(number) ? number : undefined;
}

function takeForScalar(found: unknown, steps: QuerySteps): boolean {
  const characters = typeof found === "string" ? found.length : 0;
  return steps.take(1 + Math.ceil(characters / COMPARED_CHARACTERS));
}

/** Whether two JSON values are the same, the order of an object's members included. */
function isSame(found: unknown, item: unknown, steps: QuerySteps): Verdict {
  if (!takeForScalar(found, steps)) return TOO_LONG;
  if (Array.isArray(found) && Array.isArray(item)) {
    return found.length === item.length && areSame(found, item, steps);
  }
  if (!isJsonObject(found) || !isJsonObject(item)) return found === item;
  const keys = Object.keys(found);
  const wanted = Object.keys(item);
  if (!steps.take(keys.length)) return TOO_LONG;
  if (keys.length !== wanted.length || keys.some((key, at) => key !== wanted[at])) return false;
  return areSame(Object.values(found), Object.values(item), steps);
}

function areSame(found: readonly unknown[], items: readonly unknown[], steps: QuerySteps): Verdict {
  for (const [at, value] of found.entries()) {
    const verdict = isSame(value, items[at], steps);
    if (verdict !== true) return verdict;
  }
  return true;
}
