import { rename } from "node:fs/promises";
import path from "node:path";
import { backoffMs } from "../backoff.ts";
import { type Clock, sleep } from "../clock.ts";
import { readIfThere, writeDurably } from "../identity/durable-file.ts";
import { isJsonObject } from "../json.ts";
import type { Logger } from "../log.ts";
import { makeDirectory } from "../make-directory.ts";
import { EntryTable, entryOf, type KeptEntry, newestOf } from "./entry-table.ts";
import type { Mirror, MirrorCopies, MirrorEntry, MirrorStatus } from "./mirror.ts";

const COALESCE_MS = 20;
/** Pause between two writes, in times of how long the last one took. */
const PAUSES = 10;
const CLOSE_MS = 2_000;
const BACKOFF = { firstMs: 250, capMs: 10_000 };
const ALL = 1_000_000;

/** Where a {@link FileMirror} writes. */
export interface FileMirrorOptions {
  /** Made when it is missing. */
  readonly directory: string;
  /** Name of the file. */
  readonly name: string;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** A mirror in one JSON file of this machine, read once and then written whole after changes. */
export class FileMirror implements Mirror {
  readonly #options: FileMirrorOptions;
  readonly #table: EntryTable;
  readonly #closed = new AbortController();
  readonly #loaded: Promise<void>;
  #writing: Promise<void> | undefined;
  #why: string | undefined;
  /** How long the last write took: a large file is not to be written without a pause. */
  #tookMs = 0;

  constructor(options: FileMirrorOptions) {
    this.#options = options;
    this.#table = new EntryTable(options.clock);
    this.#loaded = this.#load().catch((thrown: unknown) => this.#failed(thrown));
  }

  get status(): MirrorStatus {
    const why = this.#closed.signal.aborted ? "the mirror is closed" : this.#why;
    const pending = this.#table.pending;
    const rest = why === undefined ? {} : { why };
    return { driver: "none", isConnected: why === undefined, pending, ...rest };
  }

  /** The file is this program's own. */
  guard(): void {}

  put(entry: MirrorEntry): void {
    if (!this.#table.put(entry) || this.#closed.signal.aborted) return;
    this.#writing ??= this.#write();
  }

  async read(prefix: string): Promise<readonly MirrorEntry[]> {
    await this.#loaded;
    return newestOf(
      this.#table.all().flatMap((kept) => entryOf(kept) ?? []),
      prefix,
    );
  }

  async copies(): Promise<MirrorCopies> {
    return { copies: [await this.read("")], isWhole: true };
  }

  async settled(signal: AbortSignal): Promise<void> {
    await this.#table.settled(signal);
  }

  async close(): Promise<void> {
    if (!this.#closed.signal.aborted) await this.settled(AbortSignal.timeout(CLOSE_MS));
    this.#closed.abort();
    await this.#loaded;
    await this.#writing;
  }

  get #file(): string {
    return path.join(this.#options.directory, this.#options.name);
  }

  async #write(): Promise<void> {
    await this.#loaded;
    for (let failures = 0; this.#table.pending > 0 && !this.#closed.signal.aborted; ) {
      const pauseMs = Math.max(COALESCE_MS, this.#tookMs * PAUSES);
      await sleep(failures === 0 ? pauseMs : backoffMs(failures, BACKOFF), this.#closed.signal);
      const startedMs = this.#options.clock.nowMs();
      const waiting = this.#table.waiting(ALL);
      try {
        makeDirectory(this.#options.directory);
        await writeDurably(this.#file, JSON.stringify({ version: 1, entries: this.#table.all() }));
        this.#table.written(waiting);
        this.#tookMs = this.#options.clock.nowMs() - startedMs;
        this.#why = undefined;
        failures = 0;
      } catch (thrown) {
        failures += 1;
        this.#failed(thrown);
      }
    }
    this.#writing = undefined;
  }

  async #load(): Promise<void> {
    const text = await readIfThere(this.#file);
    if (text === undefined) return;
    const entries = entriesOf(text);
    if (entries === undefined) {
      const damaged = `${this.#file}.damaged-${this.#options.clock.timestamp().replaceAll(":", "-")}`;
      this.#options.logger.error("a damaged mirror file was put aside", { damaged });
      await rename(this.#file, damaged);
    } else for (const entry of entries) this.#table.absorb(entry);
  }

  #failed(thrown: unknown): void {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    if (this.#why !== why) this.#options.logger.warn("the mirror file cannot be used", { why });
    this.#why = why;
  }
}

/** The entries of a file; undefined when it is damaged. */
function entriesOf(text: string): KeptEntry[] | undefined {
  let whole: unknown;
  try {
    whole = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isJsonObject(whole) || whole.version !== 1 || !Array.isArray(whole.entries))
    return undefined;
  const entries = whole.entries.map(keptOf);
  return entries.every((entry) => entry !== undefined) ? entries : undefined;
}

function keptOf(value: unknown): KeptEntry | undefined {
  if (!isJsonObject(value)) return undefined;
  const { key, revision, text, removedAtMs } = value;
  if (typeof key !== "string" || typeof removedAtMs !== "number") return undefined;
  if (typeof revision !== "number" || !Number.isSafeInteger(revision)) return undefined;
  if (text !== undefined && typeof text !== "string") return undefined;
  const kept = { key, revision, text, removedAtMs };
  return entryOf(kept) === undefined ? undefined : kept;
}
