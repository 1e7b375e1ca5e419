import type { Clock } from "../clock.ts";
import { BerthError } from "../errors.ts";
import type { MirrorEntry } from "./mirror.ts";

/** How long a removed key is remembered, in ms: 1 day. */
export const TOMBSTONE_MS = 24 * 3_600_000;

const MOST_ENTRIES = 100_000;
const MOST_BYTES = 128 * 1024 * 1024;

/** An entry as it is kept: its body as JSON text. */
export interface KeptEntry {
  readonly key: string;
  readonly revision: number;
  /** undefined = removed. */
  readonly text: string | undefined;
  /** When it was removed, in ms since 1970; 0 when it is there. */
  readonly removedAtMs: number;
}

/** The newest revision of each key, and which of them are not written yet. Bounded. */
export class EntryTable {
  readonly #clock: Clock;
  readonly #entries = new Map<string, KeptEntry>();
  /** Key and the number of the put that made it wait. */
  readonly #waiting = new Map<string, number>();
  readonly #waiters = new Set<() => void>();
  #bytes = 0;
  #puts = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many keys wait to be written. */
  get pending(): number {
    return this.#waiting.size;
  }

  /** Takes an entry unless it is older; gives whether it did. Throws as {@link Mirror.put} says. */
  put(entry: MirrorEntry): boolean {
    const text = checkedText(entry);
    const { key, revision } = entry;
    const isTaken = this.absorb({ key, revision, text, removedAtMs: 0 });
    if (isTaken) this.#wait(key);
    return isTaken;
  }

  /** Takes what was written before, unless it is older; it does not wait. Throws OVERLOADED. */
  absorb(entry: KeptEntry): boolean {
    const known = this.#entries.get(entry.key);
    if (known !== undefined && known.revision >= entry.revision) return false;
    const bytes = this.#bytes - sizeOf(known) + sizeOf(entry);
    if (known === undefined) this.#forgetRemoved();
    const isFull =
      (known === undefined && this.#entries.size >= MOST_ENTRIES) || bytes > MOST_BYTES;
    if (isFull) {
      throw new BerthError(
        "OVERLOADED",
        `the mirror must have at most ${MOST_ENTRIES} keys and ${MOST_BYTES} bytes; ${entry.key} is too much`,
      );
    }
    this.#bytes += sizeOf(entry) - sizeOf(known);
    const removedAtMs = entry.text === undefined ? entry.removedAtMs || this.#nowMs() : 0;
    this.#entries.set(entry.key, { ...entry, removedAtMs });
    return true;
  }

  /** All that is known, without what was removed more than a day ago. */
  all(): KeptEntry[] {
    this.#forgetRemoved();
    return [...this.#entries.values()];
  }

  /** At most `most` entries that wait to be written. */
  waiting(most: number): KeptEntry[] {
    const found: KeptEntry[] = [];
    for (const key of this.#waiting.keys()) {
      const entry = this.#entries.get(key);
      if (entry === undefined) this.#waiting.delete(key);
      else found.push(entry);
      if (found.length >= most) break;
    }
    return found;
  }

  /** Notes that these are written; those with a newer revision by now go on waiting. */
  written(entries: readonly KeptEntry[]): void {
    for (const { key, revision } of entries) {
      if (this.#entries.get(key)?.revision === revision) this.#waiting.delete(key);
    }
    for (const check of this.#waiters) check();
  }

  /** Makes all that is known wait again. */
  rewriteAll(): void {
    for (const { key } of this.all()) if (!this.#waiting.has(key)) this.#wait(key);
  }

  /** Resolves when all that waits now is written, or the signal is aborted. */
  async settled(signal: AbortSignal): Promise<void> {
    const last = this.#puts;
    const isDone = () => ![...this.#waiting.values()].some((put) => put <= last);
    if (isDone() || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const check = () => {
      if (isDone() || signal.aborted) resolve();
    };
    this.#waiters.add(check);
    signal.addEventListener("abort", check, { once: true });
    await promise;
    this.#waiters.delete(check);
    signal.removeEventListener("abort", check);
  }

  #wait(key: string): void {
    this.#puts += 1;
    // A key that waits already keeps its number: who waits for that put waits until something of the key is written.
    if (!this.#waiting.has(key)) this.#waiting.set(key, this.#puts);
  }

  #forgetRemoved(): void {
    const endMs = this.#nowMs() - TOMBSTONE_MS;
    for (const [key, entry] of this.#entries) {
      if (entry.text !== undefined || entry.removedAtMs > endMs) continue;
      this.#entries.delete(key);
      this.#bytes -= sizeOf(entry);
    }
  }

  #nowMs(): number {
    return Date.parse(this.#clock.timestamp());
  }
}

/** The entry with its body; undefined when the text is no JSON. */
export function entryOf(kept: Omit<KeptEntry, "removedAtMs">): MirrorEntry | undefined {
  const { key, revision, text } = kept;
  if (text === undefined) return { key, revision, body: undefined };
  try {
    return { key, revision, body: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

/** The newest revision of each key that begins with `prefix`, sorted by key. */
export function newestOf(entries: readonly MirrorEntry[], prefix = ""): MirrorEntry[] {
  const newest = new Map<string, MirrorEntry>();
  for (const entry of entries) {
    if (!entry.key.startsWith(prefix)) continue;
    const known = newest.get(entry.key);
    if (known === undefined || known.revision < entry.revision) newest.set(entry.key, entry);
  }
  return [...newest.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}

function checkedText({ key, revision, body }: MirrorEntry): string | undefined {
  if (!/^[\x21-\x7e]{1,500}$/.test(key)) {
    throw invalid(`key must be 1-500 visible ASCII characters, but is ${JSON.stringify(key)}`);
  }
  if (!Number.isSafeInteger(revision) || revision < 0) {
    throw invalid(`revision must be a whole number of 0 or more, but is ${revision}`);
  }
  if (body === undefined) return undefined;
  const text = textOf(body);
  if (text === undefined) throw invalid(`body of ${key} must be JSON, but is ${typeof body}`);
  return text;
}

function textOf(body: unknown): string | undefined {
  try {
    return JSON.stringify(body);
  } catch {
    return undefined;
  }
}

function sizeOf(entry: KeptEntry | undefined): number {
  if (entry === undefined) return 0;
  return entry.key.length + Buffer.byteLength(entry.text ?? "");
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
