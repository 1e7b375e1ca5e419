/** Texts of one kind that one answer names. */
const MAX_NAMED = 100;

/** The first 100 of the texts; of the others one text tells how many there are. */
export function shortList(
  texts: readonly string[],
  more: (count: number) => string,
): readonly string[] {
  if (texts.length <= MAX_NAMED) return texts;
  return [...texts.slice(0, MAX_NAMED), more(texts.length - MAX_NAMED)];
}
