import { open, readFile, rename } from "node:fs/promises";
import path from "node:path";

/**
 * Writes a file so that a crash leaves the old one or the new one, mode 0600: second file, sync,
 * rename, sync of the directory. Rejects with what the file system says.
 */
export async function writeDurably(file: string, text: string): Promise<void> {
  const fresh = await open(`${file}.new`, "w", 0o600);
  try {
    // An earlier crash may have left the second file with another mode.
    await fresh.chmod(0o600);
    await fresh.writeFile(text);
    await fresh.sync();
  } finally {
    await fresh.close();
  }
  await rename(`${file}.new`, file);
  const folder = await open(path.dirname(file), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Text of a file, undefined when there is none. Rejects with what the file system says otherwise. */
export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return undefined;
    throw thrown;
  }
}
