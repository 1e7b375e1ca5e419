/** Longest line that is read, in UTF-16 units: a snapshot of several hundred thousand rows. */
export const MAX_LINE_LENGTH = 256 * 1024 * 1024;

/**
 * The lines of a stream of text, without their ends and without empty ones; what follows the last line end
 * is cut off and therefore no line. Throws RangeError for a line over the limit.
 */
export async function* readLines(
  chunks: AsyncIterable<string>,
  limit: number = MAX_LINE_LENGTH,
): AsyncGenerator<string, void, undefined> {
  // Kept in pieces: a line of many megabytes comes in thousands of chunks.
  let pieces: string[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    const [first = "", ...others] = chunk.split("\n");
    pieces.push(first);
    length += first.length;
    for (const next of others) {
      const line = pieces.join("");
      if (line.trim() !== "") yield line;
      pieces = [next];
      length = next.length;
    }
    if (length > limit) throw new RangeError(`a line of more than ${limit} characters`);
  }
}
