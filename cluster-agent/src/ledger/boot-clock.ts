import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { uptime } from "node:os";

const BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id";

/** Time since the machine was started, which goes on over restarts of this process. */
export interface BootClock {
  /** Names the boot that the time is counted in. */
  readonly bootId: string;
  /** Milliseconds, in steps of 10 or less; comparable across processes of one boot. Time that the machine sleeps counts. */
  nowMs(): number;
}

/**
 * The machine's boot clock: the kernel's boot id, random(4), and its uptime. Where the kernel tells no boot id, each process
 * is a boot of its own, so that nothing is believed to last that may not.
 */
export async function openBootClock(bootIdFile: string = BOOT_ID_FILE): Promise<BootClock> {
  const bootId = await readBootId(bootIdFile);
  return { bootId, nowMs: () => uptime() * 1_000 };
}

async function readBootId(file: string): Promise<string> {
  try {
    const text = (await readFile(file, "utf8")).trim();
    return text === "" ? randomUUID() : text;
  } catch {
    return randomUUID();
  }
}
