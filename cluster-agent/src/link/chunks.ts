/** Characters of JSON that one message carries, unless a single entry is larger. */
export const CHUNK_CHARACTERS = 512 * 1024;

/** Splits entries into runs of at most {@link CHUNK_CHARACTERS}; one empty run when there are none. */
export function chunked<T extends { readonly json: string }>(entries: readonly T[]): T[][] {
  const chunks: T[][] = [[]];
  let size = 0;
  for (const entry of entries) {
    const last = chunks.at(-1);
    if (last === undefined || (last.length > 0 && size + entry.json.length > CHUNK_CHARACTERS)) {
      chunks.push([entry]);
      size = entry.json.length;
    } else {
      last.push(entry);
      size += entry.json.length;
    }
  }
  return chunks;
}
