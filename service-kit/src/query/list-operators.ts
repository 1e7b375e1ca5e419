import { resolve } from "mingo/util";
import { valuesAt } from "./path-values.ts";

/** Operators that compare with the values of a list. */
export type ListOperator = "$in" | "$nin" | "$all";

/** Whether what a document holds at a path passes; as a function a value that mingo passes through unchanged. */
export type ListTest = (found: unknown) => boolean;

/**
 * Compiles a list operator with mingo's meaning. mingo itself goes through the list for every document; here it is
 * read once, and a document costs only what it holds.
 */
export function listTest(operator: ListOperator, items: readonly unknown[]): ListTest {
  const wanted = new ValueSet(items);
  if (operator === "$all") return (found) => holdsAll(found, wanted);
  const isIn: ListTest = (found) => {
    if (found === undefined || found === null) return wanted.has(null);
    return Array.isArray(found) ? found.some((item) => wanted.has(item)) : wanted.has(found);
  };
  return operator === "$in" ? isIn : (found) => !isIn(found);
}

/** mingo's query operator for compiled list operators. */
export function passesList(path: string, test: ListTest): (document: object) => boolean {
  const keys = path.split(".");
  return (document) => {
    const found = resolve(document as never, path, { unwrapArray: true });
    // Of two arrays on the way mingo makes arrays of values, which are no values themselves.
    if (keys.length === 1 || !Array.isArray(found) || !found.some(Array.isArray))
      return test(found);
    const values = valuesAt(document, keys);
    return test(values.flatMap((value) => [value, value].flat()));
  };
}

function holdsAll(found: unknown, wanted: ValueSet): boolean {
  if (!Array.isArray(found) || wanted.size === 0) return false;
  return new ValueSet(found).hasAllOf(wanted);
}

/** JSON values, told apart by what they hold. */
class ValueSet {
  readonly #scalars = new Set<unknown>();
  /** Arrays and objects as text. */
  readonly #texts = new Set<string>();

  constructor(items: readonly unknown[]) {
    for (const item of items) {
      if (isCompound(item)) this.#texts.add(textOf(item));
      else this.#scalars.add(item);
    }
  }

  get size(): number {
    return this.#scalars.size + this.#texts.size;
  }

  has(value: unknown): boolean {
    if (!isCompound(value)) return this.#scalars.has(value);
    return this.#texts.size > 0 && this.#texts.has(textOf(value));
  }

  hasAllOf(other: ValueSet): boolean {
    return other.#scalars.isSubsetOf(this.#scalars) && other.#texts.isSubsetOf(this.#texts);
  }
}

function isCompound(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** The same text for the same value, whatever the order of its keys. */
function textOf(value: object): string {
  return JSON.stringify(value, (_key, inner) => {
    if (!isCompound(inner) || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
