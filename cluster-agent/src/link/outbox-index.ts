/** What the outbox knows of an event without reading it. */
export interface OutboxItem {
  /** Place in the order of the outbox, raised by one each. */
  readonly seq: number;
  readonly kind: string;
  readonly key: string;
  readonly characters: number;
  /** When it happened, on this process's monotonic clock, ms; negative for events of former processes. */
  readonly atMs: number;
}

/** Bounds of an outbox. */
export interface OutboxLimits {
  readonly characters: number;
  readonly events: number;
  readonly ageMs: number;
}

/** 64 MiB or 7 days, whichever comes first. */
export const OUTBOX_LIMITS: OutboxLimits = {
  characters: 64 * 1024 * 1024,
  events: 100_000,
  ageMs: 7 * 24 * 3_600_000,
};

/** Kind of the event that says which events were dropped. */
export const EVENTS_DROPPED = "events_dropped";

/** The events of an outbox in order, which of them are on their way, and what has to go. Pure. */
export class OutboxIndex {
  readonly #limits: OutboxLimits;
  readonly #items = new Map<number, OutboxItem>();
  readonly #bySubject = new Map<string, OutboxItem>();
  readonly #inFlight = new Set<number>();
  #characters = 0;

  constructor(limits: OutboxLimits) {
    this.#limits = limits;
  }

  /** Number of events. */
  get size(): number {
    return this.#items.size;
  }

  /** Whether there are events that are not on their way. */
  get hasUnsent(): boolean {
    return this.#items.size > this.#inFlight.size;
  }

  has(seq: number): boolean {
    return this.#items.has(seq);
  }

  /** The event of the same kind and key that was not sent yet: a new one takes its place. */
  replaced(kind: string, key: string): OutboxItem | undefined {
    const item = this.#bySubject.get(subject(kind, key));
    return item === undefined || this.#inFlight.has(item.seq) ? undefined : item;
  }

  add(item: OutboxItem): void {
    this.#items.set(item.seq, item);
    this.#bySubject.set(subject(item.kind, item.key), item);
    this.#characters += item.characters;
  }

  remove(seq: number): void {
    const item = this.#items.get(seq);
    if (item === undefined) return;
    this.#items.delete(seq);
    this.#inFlight.delete(seq);
    this.#characters -= item.characters;
    const name = subject(item.kind, item.key);
    if (this.#bySubject.get(name) === item) this.#bySubject.delete(name);
  }

  /**
   * The oldest events that have to go when one of `characters` is added at `nowMs`: those that are too old,
   * then as many as make room. What is on its way and what tells of drops stay.
   */
  overflow(characters: number, nowMs: number): readonly OutboxItem[] {
    const gone: OutboxItem[] = [];
    let left = this.#characters + characters;
    for (const item of this.#items.values()) {
      const isFull =
        left > this.#limits.characters || this.size - gone.length >= this.#limits.events;
      const isOld = nowMs - item.atMs > this.#limits.ageMs;
      if (!isFull && !isOld) break;
      if (item.kind === EVENTS_DROPPED || this.#inFlight.has(item.seq)) continue;
      gone.push(item);
      left -= item.characters;
    }
    return gone;
  }

  /** The oldest events, as many as fit into one message, marked as on their way. */
  take(maxEvents: number, maxCharacters: number): readonly OutboxItem[] {
    const batch: OutboxItem[] = [];
    let characters = 0;
    for (const item of this.#items.values()) {
      if (this.#inFlight.has(item.seq)) continue;
      const isFull = batch.length >= maxEvents || characters + item.characters > maxCharacters;
      if (batch.length > 0 && isFull) break;
      batch.push(item);
      characters += item.characters;
    }
    for (const { seq } of batch) this.#inFlight.add(seq);
    return batch;
  }

  /** Some of what was on its way has to be sent again. */
  release(seqs: readonly number[]): void {
    for (const seq of seqs) this.#inFlight.delete(seq);
  }

  /** What was on its way has to be sent again. */
  rewind(): void {
    this.#inFlight.clear();
  }
}

function subject(kind: string, key: string): string {
  return JSON.stringify([kind, key]);
}
