import { setImmediate } from "node:timers/promises";

/** Others have their turn when writing has taken so long, in ms. */
const MAX_WRITING_MS = 5;

/** JSON text of a list that may be long: others have their turn between its items. */
export async function pacedJson(items: readonly unknown[]): Promise<string> {
  const texts: string[] = [];
  let sinceMs = performance.now();
  for (const item of items) {
    texts.push(JSON.stringify(item));
    if (performance.now() - sinceMs < MAX_WRITING_MS) continue;
    await setImmediate();
    sinceMs = performance.now();
  }
  return `[${texts.join(",")}]`;
}
