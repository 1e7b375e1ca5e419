import { mkdir, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";

/**
 * Makes a folder and those above it that are missing. Level by level, because the recursive `mkdir` of Node
 * never returns below /proc. Throws an error that names the folder that cannot be made.
 */
export async function makeFolder(path: string): Promise<void> {
  const folder = resolve(path);
  const code = await tryToMake(folder);
  if (code === null) return;
  const parent = dirname(folder);
  if (code !== "ENOENT" || parent === folder) throw notMade(folder, code);
  await makeFolder(parent);
  const second = await tryToMake(folder);
  if (second !== null) throw notMade(folder, second);
}

/** Null when the folder is there, else why it is not ("ENOENT": the one above it may be missing). */
async function tryToMake(folder: string): Promise<string | null> {
  try {
    await mkdir(folder);
    return null;
  } catch (error) {
    const code = codeOf(error);
    if (code !== "EEXIST") return code;
  }
  try {
    return (await stat(folder)).isDirectory() ? null : "ENOTDIR";
  } catch (error) {
    return codeOf(error);
  }
}

function notMade(folder: string, code: string): Error {
  return new Error(`the folder ${folder} cannot be made (${code})`);
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown failure";
}
