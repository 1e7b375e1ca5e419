/** The text of an answer; of one that is longer than so many bytes its beginning, and no more of it is read. */
export async function boundedText(
  { body }: Pick<Response, "body">,
  maxBytes: number,
): Promise<{ readonly text: string; readonly isWhole: boolean }> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body ?? []) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > maxBytes) break;
  }
  const text = Buffer.concat(chunks).subarray(0, maxBytes).toString();
  return { text, isWhole: bytes <= maxBytes };
}
