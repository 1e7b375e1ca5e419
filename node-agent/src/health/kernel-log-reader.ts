import { constants, readSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import os from "node:os";
import { Quality } from "@berth/proto";
import { type Clock, type Logger, sleep } from "@berth/service-kit/base";
import type { KernelLog, KernelMessage } from "./kernel-log.ts";
import { parseKernelRecords } from "./kernel-record.ts";

/** What a {@link KernelLogReader} works with. */
export interface KernelLogOptions {
  /** The device, /dev/kmsg, or a file with records in its form. */
  readonly file: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timings?: KernelLogTimings;
  /** Time since boot in ms; the machine's by default. */
  readonly uptimeMs?: () => number;
  /** Reads once and gives the number of bytes, or throws as `readSync` does, which is the default. */
  readonly read?: (fd: number, buffer: Buffer) => number;
}

/** Times of {@link KernelLogReader}, in ms. */
export interface KernelLogTimings {
  /** Time between two looks at the log. */
  readonly pollMs: number;
  /** Time before a log that could not be opened or read is opened again. */
  readonly reopenMs: number;
}

/** Times for use in production. */
export const KERNEL_LOG_TIMINGS: KernelLogTimings = { pollMs: 1_000, reopenMs: 60_000 };

/** Room for one record: the kernel's longest is 8 KiB (PRINTK_MESSAGE_MAX 2 KiB, escaped and with keys). */
const BUFFER_BYTES = 16_384;

/** Reads before other work gets its turn: about 5 ms. */
const READS_PER_TURN = 256;

/** Longest piece of a line that is held until its end comes (files and pipes only). */
const MAX_REST = 16_384;

/**
 * Reads the kernel log from the oldest message that the kernel still has, so that an agent that starts
 * late knows the XIDs of this boot, and then looks for new ones once per second.
 *
 * libuv cannot wait for /dev/kmsg (epoll works on it, but Node has no handle for character devices that
 * are no terminals), and a blocking read would hold a thread of its pool for ever. So it is opened with
 * O_NONBLOCK, with which a read returns at once, by the device's contract: a record, EAGAIN, or EPIPE
 * when records were overwritten before they were read (the next read gives the oldest one that is left).
 * One look that finds nothing costs about 10 µs.
 */
export class KernelLogReader implements KernelLog {
  readonly name = "kernel log";
  readonly #options: KernelLogOptions;
  readonly #timings: KernelLogTimings;
  readonly #listeners = new Set<(messages: readonly KernelMessage[]) => void>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #stopping = new AbortController();
  readonly #buffer = Buffer.alloc(BUFFER_BYTES);
  #quality: Quality = Quality.UNAVAILABLE;
  #problem = "";
  #rest = "";
  #lastSeq = -1;
  #running: Promise<void> = Promise.resolve();

  constructor(options: KernelLogOptions) {
    this.#options = options;
    this.#timings = options.timings ?? KERNEL_LOG_TIMINGS;
  }

  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  async start(): Promise<void> {
    this.#running = this.#run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    this.#ready.resolve();
    this.#listeners.clear();
  }

  quality(): Quality {
    return this.#quality;
  }

  subscribe(listener: (messages: readonly KernelMessage[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let handle: FileHandle | undefined;
      try {
        handle = await open(this.#options.file, constants.O_RDONLY | constants.O_NONBLOCK);
        await this.#follow(handle, signal);
      } catch (thrown) {
        this.#lose(thrown);
      } finally {
        await handle?.close();
      }
      this.#ready.resolve();
      await sleep(this.#timings.reopenMs, signal);
    }
  }

  async #follow(handle: FileHandle, signal: AbortSignal): Promise<void> {
    this.#rest = "";
    while (!signal.aborted) {
      const { chunks, drained } = this.#read(handle.fd);
      // Access may be refused at the first read only.
      if (this.#quality !== Quality.MEASURED) this.#gain();
      this.#tell(chunks);
      if (!drained) {
        await yieldTurn();
        continue;
      }
      this.#ready.resolve();
      await sleep(this.#timings.pollMs, signal);
    }
  }

  /** Reads what is there, at most a turn's worth; throws when the log cannot be read at all. */
  #read(fd: number): { chunks: string; drained: boolean } {
    const { read = readNext } = this.#options;
    const chunks: string[] = [];
    let drained = false;
    let losses = 0;
    for (let reads = 0; reads < READS_PER_TURN && !drained; reads += 1) {
      const bytes = readOnce(() => read(fd, this.#buffer));
      if (bytes === "nothing") drained = true;
      else if (bytes === "lost") losses += 1;
      else chunks.push(this.#buffer.toString("utf8", 0, bytes));
    }
    if (losses === READS_PER_TURN) throw new Error("no message of it can be read");
    if (losses > 0) this.#options.logger.warn("messages of the kernel log were lost", { losses });
    return { chunks: chunks.join(""), drained };
  }

  #tell(chunks: string): void {
    if (chunks === "") return;
    // The device gives whole records; a file may end in the middle of one.
    const lines = (this.#rest + chunks).split("\n");
    this.#rest = (lines.pop() ?? "").slice(0, MAX_REST);
    const { clock, uptimeMs } = this.#options;
    const nowMs = clock.nowMs();
    const sinceBootMs = uptimeMs === undefined ? os.uptime() * 1_000 : uptimeMs();
    const messages: KernelMessage[] = [];
    for (const { seq, sinceBootUs, text } of parseKernelRecords(lines.join("\n"))) {
      // A log that is opened again begins anew.
      if (seq <= this.#lastSeq) continue;
      this.#lastSeq = seq;
      const ageMs = Math.max(0, sinceBootMs - sinceBootUs / 1_000);
      messages.push({ seq, atMs: nowMs - ageMs, text });
    }
    if (messages.length > 0) this.#emit(messages);
  }

  #gain(): void {
    this.#quality = Quality.MEASURED;
    this.#problem = "";
    this.#emit([]);
  }

  #lose(thrown: unknown): void {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    const had = this.#quality;
    this.#quality = Quality.UNAVAILABLE;
    if (why !== this.#problem) {
      this.#options.logger.warn("the kernel log cannot be read: XIDs are not seen", { why });
    }
    this.#problem = why;
    if (had !== Quality.UNAVAILABLE) this.#emit([]);
  }

  #emit(messages: readonly KernelMessage[]): void {
    for (const listener of [...this.#listeners]) listener(messages);
  }
}

/** Bytes of one read; "nothing" when there is no more now, "lost" when messages were skipped. */
function readOnce(read: () => number): number | "nothing" | "lost" {
  try {
    const bytes = read();
    return bytes === 0 ? "nothing" : bytes;
  } catch (thrown) {
    const code = thrown instanceof Error && "code" in thrown ? thrown.code : "";
    if (code === "EAGAIN") return "nothing";
    // EINVAL: a record that is longer than the buffer; the kernel has moved on to the next one.
    if (code === "EPIPE" || code === "EINVAL") return "lost";
    throw thrown;
  }
}

function readNext(fd: number, buffer: Buffer): number {
  return readSync(fd, buffer, 0, buffer.length, null);
}

function yieldTurn(): Promise<void> {
  const next = Promise.withResolvers<void>();
  setImmediate(next.resolve);
  return next.promise;
}
