import { readdir, statfs } from "node:fs/promises";
import path from "node:path";
import { BerthError, type Part } from "@berth/service-kit";

/** Free space without which the sandbox's first snapshot is not begun: twice the 26 MiB that it takes, and some. */
export const NEEDED_MIB = 64;

const MIB = 1024 * 1024;
const SNAPSHOT_FILE = /^snapshot-[0-9a-f]{16}\.bin$/;

/** Bytes that this process may still write below a directory that exists; rejects with what the system says. */
export type FreeBytes = (directory: string) => Promise<number>;

/**
 * A part that fails the start (UNAVAILABLE) when the sandbox's directory holds no snapshot yet and has too
 * little room for one: no policy could ever run. The directory itself may be missing, the one above it not.
 */
export function freeSpaceCheck(directory: string, freeBytes: FreeBytes = freeBytesOf): Part {
  return {
    name: "free space",
    async start() {
      if (await holdsSnapshot(directory)) return;
      const free = await freeBelow(directory, freeBytes);
      if (free >= NEEDED_MIB * MIB) return;
      const message = `the policy sandbox has too little space in ${directory}: ${(free / MIB).toFixed(1)} MiB free, ${NEEDED_MIB} MiB needed; make room there, or set BERTH_DATA_DIR to a directory with more`;
      throw new BerthError("UNAVAILABLE", message);
    },
    stop: async () => {},
  };
}

async function holdsSnapshot(directory: string): Promise<boolean> {
  try {
    return (await readdir(directory)).some((name) => SNAPSHOT_FILE.test(name));
  } catch (cause) {
    if (isMissing(cause)) return false;
    throw unusable(directory, cause);
  }
}

async function freeBelow(directory: string, freeBytes: FreeBytes): Promise<number> {
  try {
    return await freeBytes(directory);
  } catch (cause) {
    if (!isMissing(cause)) throw unusable(directory, cause);
  }
  try {
    return await freeBytes(path.dirname(directory));
  } catch (cause) {
    throw unusable(directory, cause);
  }
}

async function freeBytesOf(directory: string): Promise<number> {
  const { bavail, bsize, blocks } = await statfs(directory);
  // File systems without a size of their own tell 0 blocks, and refuse no write for it.
  return blocks === 0 ? Number.POSITIVE_INFINITY : bavail * bsize;
}

function isMissing(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT";
}

function unusable(directory: string, cause: unknown): BerthError {
  const why = cause instanceof Error ? cause.message : String(cause);
  const message = `the policy sandbox cannot use ${directory}: ${why}`;
  return new BerthError("UNAVAILABLE", message, { cause });
}
