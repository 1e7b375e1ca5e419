import { BerthError, compilePattern, isJsonObject } from "@berth/service-kit";

/** Most steps that a query may take on one cluster, about a nanosecond each: half a second. */
export const MAX_CLUSTER_STEPS = 500_000_000;
/** Most steps that a query may take on all clusters together; others have their turn in between. */
export const MAX_REQUEST_STEPS = 10_000_000_000;

/** Each step of a pattern takes several nanoseconds for a character; few characters are of its path. */
const PATTERN_STEPS = 2;
/** Objects and lists are compared by their whole text. */
const COMPOUND_STEPS = 16;
const LISTS: ReadonlySet<string> = new Set(["$in", "$nin", "$all"]);

/**
 * Steps that a filter may take for each character of what it looks at: one for each condition, more for
 * patterns and for objects in lists. The filter has been compiled, so it is within the limits of filters.
 */
export function weightOf(filter: unknown): number {
  if (Array.isArray(filter)) return total(filter.map(weightOf));
  if (!isJsonObject(filter)) return 0;
  return total(Object.entries(filter).map(([key, value]) => weightOfMember(key, value)));
}

/** The part of {@link weightOf} that patterns have. */
export function patternWeight(filter: unknown): number {
  if (Array.isArray(filter)) return total(filter.map(patternWeight));
  if (!isJsonObject(filter)) return 0;
  const ofMembers = Object.entries(filter).map(([key, value]) =>
    key === "$regex" ? weightOfPattern(value) : patternWeight(value),
  );
  return total(ofMembers);
}

/** Counts what one query takes on cluster after cluster. */
export class QueryBudget {
  #left = MAX_REQUEST_STEPS;

  /** Takes the steps of one cluster; INVALID_ARGUMENT names it when they are too many. */
  take(steps: number, clusterId: string): void {
    this.#left -= steps;
    if (steps <= MAX_CLUSTER_STEPS && this.#left >= 0) return;
    const where =
      steps > MAX_CLUSTER_STEPS ? `on cluster ${clusterId}` : "on all clusters together";
    const how =
      "use fewer conditions below nodes and shorter patterns, or name clusters by clusterId";
    throw new BerthError("INVALID_ARGUMENT", `query: it would take too long ${where}; ${how}`);
  }
}

function weightOfMember(key: string, value: unknown): number {
  if (key === "$regex") return weightOfPattern(value);
  if (LISTS.has(key)) return weightOfList(value);
  return (key.startsWith("$") ? 0 : 1) + weightOf(value);
}

function weightOfList(items: unknown): number {
  if (!Array.isArray(items)) return 0;
  const isCompound = items.some((item) => typeof item === "object" && item !== null);
  return (isCompound ? COMPOUND_STEPS : 0) + total(items.map(weightOf));
}

function weightOfPattern(source: unknown): number {
  return typeof source === "string" ? PATTERN_STEPS * compilePattern(source, "query").steps : 0;
}

function total(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}
