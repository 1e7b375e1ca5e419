import { existsSync, mkdirSync } from "node:fs";
import path from "node:path";

/**
 * Makes a directory (mode 0700) and those above it where they are missing. Throws what `mkdir` throws;
 * Node's own recursive mkdir never returns below /proc.
 */
export function makeDirectory(directory: string): void {
  const full = path.resolve(directory);
  if (existsSync(full)) return;
  makeDirectory(path.dirname(full));
  mkdirSync(full, { mode: 0o700 });
}
