import { stat, statfs } from "node:fs/promises";
import { within } from "./within.ts";

/** Room of one mounted file system, in bytes. */
export interface MountSpace {
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** What unprivileged programs can still fill. */
  readonly availableBytes: number;
  /** Whether the mount point is a directory: containers see single files bound from the host's disk. */
  readonly isDirectory: boolean;
}

/** How one file system is asked; `statfs` and `stat` of the machine by default. */
export type AskMount = (mountPoint: string) => Promise<MountSpace>;

/**
 * A dead disk holds a call, and with it one of the four threads of libuv's pool, for ever; the pool also
 * serves every other file and name look-up of the process. So a mount point is never asked while an
 * earlier question is open, and none at all while this many are.
 */
const MAX_OPEN = 2;

/** Longest wait for one answer, in ms: a disk that lives answers in far less than one. */
const LIMIT_MS = 500;

/** Asks mounted file systems for their room, without ever losing more than two threads to dead disks. */
export class MountProbe {
  readonly #ask: AskMount;
  readonly #open = new Set<string>();

  constructor(ask: AskMount = askMount) {
    this.#ask = ask;
  }

  /** The room of each mount point, in their order; undefined where none can be had in 0.5 s. */
  async read(mountPoints: readonly string[]): Promise<readonly (MountSpace | undefined)[]> {
    const found: (MountSpace | undefined)[] = [];
    // One after the other: together, a few dead disks would take all threads at once.
    for (const mountPoint of mountPoints) found.push(await this.#readOne(mountPoint));
    return found;
  }

  async #readOne(mountPoint: string): Promise<MountSpace | undefined> {
    if (this.#open.has(mountPoint) || this.#open.size >= MAX_OPEN) return undefined;
    this.#open.add(mountPoint);
    const asked = this.#ask(mountPoint).finally(() => this.#open.delete(mountPoint));
    return within(asked, LIMIT_MS);
  }
}

async function askMount(mountPoint: string): Promise<MountSpace> {
  const entry = await stat(mountPoint);
  const { blocks, bfree, bavail, bsize } = await statfs(mountPoint);
  return {
    totalBytes: blocks * bsize,
    freeBytes: bfree * bsize,
    availableBytes: bavail * bsize,
    isDirectory: entry.isDirectory(),
  };
}
