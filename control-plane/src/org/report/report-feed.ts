import { BerthError, type Logger, type Part } from "@berth/service-kit";

/** Time between two frames when a subscriber says none, seconds. */
export const DEFAULT_INTERVAL_SECONDS = 30;
const MAX_INTERVAL_SECONDS = 3_600;
const TICK_MS = 1_000;
/** Changes that come within it are one frame, ms. */
const GATHER_MS = 50;
const MAX_SUBSCRIBERS = 10_000;

/** What a subscriber wants. */
export interface FeedRequest {
  readonly intervalSeconds: number;
  /** Also when quotas change. */
  readonly changes: boolean;
}

/** What {@link ReportFeed} works with. */
export interface ReportFeedDeps {
  /** The newest report, JSON text. */
  readonly report: () => Promise<string>;
  readonly logger: Logger;
}

interface Subscriber extends FeedRequest {
  /** Resolves when the frame has left; never rejects. */
  readonly send: (frame: Buffer) => Promise<void>;
  /** Ticks until its next frame. */
  ticksLeft: number;
  /** What it gets when the frame before has left: the newest one only. */
  next: Buffer | undefined;
  isSending: boolean;
}

/**
 * Reads the query of a feed's URL: `interval` is a whole number of seconds from 1 to 3,600, 30 by default and when it is
 * empty; `changes=true` asks for a frame whenever quotas change. INVALID_ARGUMENT names the key.
 */
export function readFeedRequest(query: URLSearchParams): FeedRequest {
  const interval = query.get("interval") ?? "";
  const changes = query.get("changes") ?? "false";
  const intervalSeconds = interval === "" ? DEFAULT_INTERVAL_SECONDS : Number(interval);
  const isWhole = interval === "" || /^\d{1,4}$/.test(interval);
  if (!isWhole || intervalSeconds < 1 || intervalSeconds > MAX_INTERVAL_SECONDS) {
    const got = JSON.stringify(interval.slice(0, 40));
    const message = `interval: expected a whole number of seconds from 1 to ${MAX_INTERVAL_SECONDS}, got ${got}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  if (changes !== "true" && changes !== "false" && changes !== "") {
    throw new BerthError("INVALID_ARGUMENT", "changes: expected true or false");
  }
  return { intervalSeconds, changes: changes === "true" };
}

/**
 * Sends the report to all who subscribed: at once, and then each in its own interval. One report is made for all whose time has come at
 * a tick. Who is slow to read gets the newest one when the frame before has left.
 */
export class ReportFeed implements Part {
  readonly name = "report feed";
  readonly #deps: ReportFeedDeps;
  readonly #subscribers = new Set<Subscriber>();
  /** Who waits for the report that is made next. */
  #due = new Set<Subscriber>();
  #making = false;
  #ticks: NodeJS.Timeout | undefined;
  #gathering: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(deps: ReportFeedDeps) {
    this.#deps = deps;
  }

  /** Number of subscribers. */
  get size(): number {
    return this.#subscribers.size;
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#ticks);
    clearTimeout(this.#gathering);
    this.#subscribers.clear();
  }

  /** Takes a subscriber on; gives what ends it. OVERLOADED when there are too many. */
  subscribe(request: FeedRequest, send: Subscriber["send"]): () => void {
    if (this.#subscribers.size >= MAX_SUBSCRIBERS) {
      const message = `${MAX_SUBSCRIBERS} clients read the feed, which is the most`;
      throw new BerthError("OVERLOADED", message);
    }
    const { intervalSeconds: ticksLeft } = request;
    const subscriber = { ...request, send, ticksLeft, next: undefined, isSending: false };
    this.#subscribers.add(subscriber);
    this.#want([subscriber]);
    this.#ticks ??= setInterval(() => this.#tick(), TICK_MS);
    return () => {
      this.#subscribers.delete(subscriber);
      this.#due.delete(subscriber);
      if (this.#subscribers.size > 0) return;
      clearInterval(this.#ticks);
      this.#ticks = undefined;
    };
  }

  /** Quotas have changed: who wants to know is told at once. */
  changed(): void {
    if (this.#isStopped || this.#gathering !== undefined) return;
    this.#gathering = setTimeout(() => {
      this.#gathering = undefined;
      this.#want([...this.#subscribers].filter(({ changes }) => changes));
    }, GATHER_MS);
  }

  #tick(): void {
    const due = [...this.#subscribers].filter((subscriber) => {
      subscriber.ticksLeft -= 1;
      if (subscriber.ticksLeft > 0) return false;
      subscriber.ticksLeft = subscriber.intervalSeconds;
      return true;
    });
    this.#want(due);
  }

  /** A report that is being made already may be older than what they want to see: they get the next one. */
  #want(subscribers: readonly Subscriber[]): void {
    if (this.#isStopped || subscribers.length === 0) return;
    for (const subscriber of subscribers) this.#due.add(subscriber);
    if (!this.#making) void this.#make();
  }

  async #make(): Promise<void> {
    this.#making = true;
    // Those who subscribe in the same moment share the report.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#due.size > 0 && !this.#isStopped) {
      const due = this.#due;
      this.#due = new Set();
      try {
        const frame = Buffer.from(await this.#deps.report());
        for (const subscriber of due) void this.#hand(subscriber, frame);
      } catch (err) {
        this.#deps.logger.error("the report for the feed was not made", { err });
      }
    }
    this.#making = false;
  }

  async #hand(subscriber: Subscriber, frame: Buffer): Promise<void> {
    subscriber.next = frame;
    if (subscriber.isSending) return;
    subscriber.isSending = true;
    while (subscriber.next !== undefined && this.#subscribers.has(subscriber)) {
      const { next } = subscriber;
      subscriber.next = undefined;
      await subscriber.send(next);
    }
    subscriber.isSending = false;
  }
}
