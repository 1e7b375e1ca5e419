/** Compacts the whole history of an etcd: only the newest state of each key is left. */
export async function compactHistory(url: string): Promise<void> {
  const { header } = await call(`${url}/v3/kv/range`, { key: "AA==", limit: "1" });
  await call(`${url}/v3/kv/compaction`, { revision: header.revision, physical: true });
}

async function call(
  url: string,
  body: object,
): Promise<{ readonly header: { readonly revision: string } }> {
  const reply = await fetch(url, {
    method: "POST",
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  const text = await reply.text();
  if (!reply.ok) throw new Error(`${url}: ${reply.status} ${text}`);
  return JSON.parse(text);
}
