import { open, rename, stat, truncate } from "node:fs/promises";
import { isMissing } from "./error-code.ts";

/** Bounds of the log files of an instance. */
export interface LogBounds {
  /** A log that is larger is put aside, and at most so much of its end is kept. */
  readonly maxBytes: number;
  /** Earlier files that are kept, `.1` the youngest. */
  readonly kept: number;
}

/** 10 MiB, and three earlier ones. */
export const LOG_BOUNDS: LogBounds = { maxBytes: 10_485_760, kept: 3 };

/**
 * Puts a log aside when it has grown past the bound: its end is copied and the file is cut to nothing, since the program
 * writes on through its own descriptor (which appends). What it writes between the two is lost. Gives whether it did.
 */
export async function rotateLog(file: string, bounds: LogBounds): Promise<boolean> {
  const size = await sizeOf(file);
  if (size <= bounds.maxBytes) return false;
  for (let number = bounds.kept - 1; number >= 1; number -= 1) {
    await renameIfThere(`${file}.${number}`, `${file}.${number + 1}`);
  }
  await copyEnd(file, `${file}.1`, { size, maxBytes: bounds.maxBytes });
  await truncate(file, 0);
  return true;
}

async function copyEnd(
  from: string,
  to: string,
  { size, maxBytes }: { size: number; maxBytes: number },
): Promise<void> {
  // In pieces: an agent with a thousand noisy instances has no memory for their logs.
  const piece = Buffer.alloc(65_536);
  const source = await open(from, "r");
  try {
    const target = await open(to, "w", 0o600);
    try {
      let position = size - maxBytes;
      while (position < size) {
        const length = Math.min(piece.length, size - position);
        const { bytesRead } = await source.read(piece, 0, length, position);
        if (bytesRead === 0) break;
        await target.write(piece, 0, bytesRead);
        position += bytesRead;
      }
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch (thrown) {
    if (isMissing(thrown)) return 0;
    throw thrown;
  }
}

async function renameIfThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (thrown) {
    if (!isMissing(thrown)) throw thrown;
  }
}
