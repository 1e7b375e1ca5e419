import { readdir, readFile, readlink } from "node:fs/promises";
import path from "node:path";
import { BerthError } from "@berth/service-kit";
import { isGone } from "./error-code.ts";
import { type ProcessEntry, ProcessLook } from "./kinship.ts";
import { type ProcessMarks, type ProcessStat, parseMarks, parseStat } from "./proc-text.ts";

/** Reads of /proc/<pid>/environ at a time: each may hang with the process that it looks at. */
const ENVIRON_READS = 2;
const STAT_READS = 16;
/** With so many hung reads no other is begun: each keeps one of the four threads that Node reads files with. */
const MAX_HUNG = 2;
/** A read that took as long hangs, in ms. */
const HUNG_AFTER_MS = 2_000;
/** Parent of all threads of the kernel. */
const KTHREADD_PID = 2;

/** Where a {@link ProcessTable} reads. */
export interface ProcessTableOptions {
  /** "/proc", but in tests. */
  readonly procDir?: string;
  readonly hungAfterMs?: number;
}

/** The processes of this machine, from /proc. */
export class ProcessTable {
  readonly #procDir: string;
  readonly #hungAfterMs: number;
  /** Processes whose environment is still being read after so long. */
  readonly #hung = new Set<string>();
  /** What the living processes of ours carried when they were read last. */
  #lastMarks: ReadonlyMap<string, ProcessMarks> = new Map();
  #running: Promise<unknown> = Promise.resolve();
  #next: Promise<readonly ProcessEntry[]> | undefined;
  #last: { readonly atMs: number; readonly look: Promise<ProcessLook> } | undefined;

  constructor({ procDir = "/proc", hungAfterMs = HUNG_AFTER_MS }: ProcessTableOptions = {}) {
    this.#procDir = procDir;
    this.#hungAfterMs = hungAfterMs;
  }

  /** UUID of this boot, and the container's: a pid means nothing in another one. */
  async bootId(): Promise<string> {
    const text = await readIfAllowed(path.join(this.#procDir, "sys/kernel/random/boot_id"));
    if (text !== "") return [text.trim(), await this.#namespace()].join(" ").trim();
    throw new BerthError(
      "UNIMPLEMENTED",
      `local processes are run on Linux only: there is no ${this.#procDir}/sys/kernel/random/boot_id`,
    );
  }

  /**
   * All processes, by a look that begins after the call; callers that wait at the same time share one. A process in
   * which the kernel hangs (a driver that does not answer) hangs who reads its environment: it is listed with the marks
   * that it had before. Rejects with UNAVAILABLE when two or more do.
   */
  scan(): Promise<readonly ProcessEntry[]> {
    if (this.#next !== undefined) return this.#next;
    const scan = this.#running.then(() => {
      this.#next = undefined;
      return this.#read();
    });
    this.#next = scan;
    this.#running = scan.catch(() => undefined);
    return scan;
  }

  /** A look that began at most so long ago: those who only want to remember share one. Rejects as {@link scan}. */
  recent(maxAgeMs: number): Promise<ProcessLook> {
    const atMs = performance.now();
    if (this.#last !== undefined && atMs - this.#last.atMs <= maxAgeMs) return this.#last.look;
    const look = this.scan().then((entries) => new ProcessLook(entries));
    this.#last = { atMs, look };
    return look;
  }

  /** What /proc/<pid>/stat says now; undefined when there is no such process. */
  async stat(pid: number): Promise<ProcessStat | undefined> {
    const text = await readIfAllowed(path.join(this.#procDir, String(pid), "stat"));
    return parseStat(text);
  }

  /** "pid:[4026531836]"; "" where the kernel has none. */
  async #namespace(): Promise<string> {
    try {
      return await readlink(path.join(this.#procDir, "self/ns/pid"));
    } catch (thrown) {
      if (isGone(thrown)) return "";
      throw thrown;
    }
  }

  async #read(): Promise<readonly ProcessEntry[]> {
    const pids = (await readdir(this.#procDir)).filter((name) => /^\d+$/.test(name));
    const stats = await mapBounded(pids, STAT_READS, (pid) => this.stat(Number(pid)));
    const processes = stats.filter((stat) => stat !== undefined);
    const present = new Set(processes.map(identity));
    for (const gone of [...this.#hung].filter((known) => !present.has(known))) {
      this.#hung.delete(gone);
    }
    const entries = await mapBounded(processes, ENVIRON_READS, async (stat) => ({
      ...stat,
      marks: await this.#marksOf(stat),
    }));
    this.#lastMarks = new Map(
      entries.flatMap((entry) => (entry.marks ? [[identity(entry), entry.marks]] : [])),
    );
    return entries;
  }

  async #marksOf(stat: ProcessStat): Promise<ProcessMarks | undefined> {
    const id = identity(stat);
    if (stat.parentPid === KTHREADD_PID) return undefined;
    if (this.#hung.has(id)) return this.#lastMarks.get(id);
    if (this.#hung.size >= MAX_HUNG) {
      throw new BerthError(
        "UNAVAILABLE",
        `the processes of this machine cannot be told apart: ${[...this.#hung].join(", ")} hang in the kernel`,
      );
    }
    const file = path.join(this.#procDir, String(stat.pid), "environ");
    const reading = readIfAllowed(file);
    const environ = await within(this.#hungAfterMs, reading);
    if (environ !== undefined) return parseMarks(environ);
    this.#hung.add(id);
    // It may only have been slow: its thread is free again, and the next look reads it anew.
    const end = () => void this.#hung.delete(id);
    reading.then(end, end);
    return this.#lastMarks.get(id);
  }
}

function identity({ pid, startTicks }: ProcessStat): string {
  return `pid ${pid} (start ${startTicks})`;
}

/** What a file of /proc holds; "" when the process is gone, or another user's. */
export async function readIfAllowed(file: string): Promise<string> {
  try {
    return await readFile(file, "latin1");
  } catch (thrown) {
    if (isGone(thrown)) return "";
    throw thrown;
  }
}

async function within<T>(limitMs: number, work: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), limitMs);
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}

async function mapBounded<T, R>(
  items: readonly T[],
  atATime: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const queue = items.entries();
  const worker = async (): Promise<void> => {
    for (const [index, item] of queue) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: atATime }, worker));
  return results;
}
