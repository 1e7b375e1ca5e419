/** What a key asks `berth top` for: to end, or to scroll by lines, pages or to an end. */
export type TopKey =
  | { readonly kind: "quit" }
  | { readonly kind: "lines"; readonly count: number }
  | { readonly kind: "pages"; readonly count: number }
  | { readonly kind: "start" }
  | { readonly kind: "end" };

const KEYS: Readonly<Record<string, TopKey>> = {
  q: { kind: "quit" },
  Q: { kind: "quit" },
  "\u0003": { kind: "quit" },
  "\u0004": { kind: "quit" },
  k: { kind: "lines", count: -1 },
  "\u001b[A": { kind: "lines", count: -1 },
  "\u001bOA": { kind: "lines", count: -1 },
  j: { kind: "lines", count: 1 },
  "\u001b[B": { kind: "lines", count: 1 },
  "\u001bOB": { kind: "lines", count: 1 },
  "\u001b[5~": { kind: "pages", count: -1 },
  "\u001b[6~": { kind: "pages", count: 1 },
  " ": { kind: "pages", count: 1 },
  g: { kind: "start" },
  "\u001b[H": { kind: "start" },
  "\u001b[1~": { kind: "start" },
  G: { kind: "end" },
  "\u001b[F": { kind: "end" },
  "\u001b[4~": { kind: "end" },
};

/** What typed text asks for, key by key; keys without a meaning are left out. */
export function readKeys(text: string): readonly TopKey[] {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: keys come as control sequences.
  const keys = text.match(/\u001b(\[[0-9;]*[A-Za-z~]|O[A-Z])|./gsu) ?? [];
  return keys.flatMap((key) => (Object.hasOwn(KEYS, key) ? (KEYS[key] ?? []) : []));
}

/** The first row to show after a key, before the view keeps it within what there is. */
export function scrolled(key: TopKey, from: number, page: number): number {
  if (key.kind === "start") return 0;
  if (key.kind === "end") return Number.MAX_SAFE_INTEGER;
  return key.kind === "quit" ? from : from + key.count * (key.kind === "pages" ? page : 1);
}
