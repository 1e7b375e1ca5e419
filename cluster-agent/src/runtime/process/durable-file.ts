import { open, readFile, rename } from "node:fs/promises";
import path from "node:path";
import { isMissing } from "./error-code.ts";

/** Writes a file so that a loss of power leaves the old one or the new one, mode 0600. */
export async function writeDurably(file: string, text: string): Promise<void> {
  await writeWhole(file, text, true);
  await syncFolder(path.dirname(file));
}

/** Writes a file so that the end of the agent leaves the old one or the new one; a loss of power may empty it. */
export async function writeAtomically(file: string, text: string): Promise<void> {
  await writeWhole(file, text, false);
}

/** Makes what was made and removed in a folder outlast a loss of power. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Text of a file; undefined when there is none. */
export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (thrown) {
    if (isMissing(thrown)) return undefined;
    throw thrown;
  }
}

async function writeWhole(file: string, text: string, isSynced: boolean): Promise<void> {
  const fresh = await open(`${file}.new`, "w", 0o600);
  try {
    await fresh.writeFile(text);
    if (isSynced) await fresh.sync();
  } finally {
    await fresh.close();
  }
  await rename(`${file}.new`, file);
}
