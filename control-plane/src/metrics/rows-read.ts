/** Longest text in a row, characters: rows are for looking at. */
const MAX_TEXT = 256;

/**
 * The finite number that a document holds somewhere; null otherwise. Agents and people who register clusters
 * write what they like where it is not checked.
 */
export function numberOf(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** The text that a document holds somewhere, at most 256 characters of it; null without any. */
export function textOf(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value.slice(0, MAX_TEXT) : null;
}

/** At most `most` items of a list; none when it is no list. */
export function itemsOf<Item>(value: readonly Item[] | undefined, most: number): readonly Item[] {
  if (!Array.isArray(value)) return [];
  return value.length <= most ? value : value.slice(0, most);
}

/** The texts in a list, each once, at most `most`. */
export function textsOf(value: readonly unknown[] | undefined, most: number): readonly string[] {
  const texts = itemsOf(value, most)
    .map(textOf)
    .filter((text) => text !== null);
  return texts.length < 2 ? texts : [...new Set(texts)];
}

/** The sum of what is known; null when nothing is. */
export function plus(sum: number | null, value: number | null): number | null {
  if (value === null) return sum;
  return sum === null ? value : sum + value;
}
