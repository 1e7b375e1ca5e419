import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";

/** What the kernel says a process uses. */
export interface ProcessUsage {
  readonly rssMiB: number;
  /** User and system time of its main thread, in which a worker's interpreter runs. */
  readonly cpuMs: number;
}

// proc(5): fields of /proc/<pid>/task/<tid>/stat, counted after the command's closing parenthesis.
const FIELD_UTIME = 11;
const FIELD_STIME = 12;
const FIELD_RSS_PAGES = 21;
const CLOCK_TICK_MS = 10;
const PAGES_PER_MIB = 256;

/** Reads the stat file of the main thread; null when the process is gone or the platform has no /proc. */
export async function readUsage(pid: number): Promise<ProcessUsage | null> {
  try {
    return parseStat(await readFile(statFile(pid), "latin1"));
  } catch {
    return null;
  }
}

/** `readUsage` at once, for a look at the pool. */
export function readUsageNow(pid: number): ProcessUsage | null {
  try {
    return parseStat(readFileSync(statFile(pid), "latin1"));
  } catch {
    return null;
  }
}

/** Takes the line of a stat file apart (4 KiB pages, 100 ticks a second). */
export function parseStat(line: string): ProcessUsage | null {
  const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
  const [utime, stime, pages] = [FIELD_UTIME, FIELD_STIME, FIELD_RSS_PAGES].map((index) =>
    Number(fields[index]),
  );
  if (utime === undefined || stime === undefined || pages === undefined) return null;
  if (!Number.isFinite(utime + stime + pages)) return null;
  return { rssMiB: pages / PAGES_PER_MIB, cpuMs: (utime + stime) * CLOCK_TICK_MS };
}

/** The main thread has the process's own number. */
function statFile(pid: number): string {
  return `/proc/${pid}/task/${pid}/stat`;
}
