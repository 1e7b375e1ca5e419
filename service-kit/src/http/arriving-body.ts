import { type Readable, Transform } from "node:stream";
import {
  MAX_BODY_BYTES,
  type RequestBudget,
  type RequestHold,
  SMALL_REQUEST_BYTES,
} from "./request-budget.ts";

/** How often it is looked whether a body still comes, in ms. */
const STALL_CHECK_MS = 1_000;
/**
 * A share that would take longer than this many checks to fill is for what has come only. A request has 60 s, so it is none
 * that comes steadily.
 */
const MAX_CHECKS = 64;
/** Least by which the share of a body that does not say its size grows, once it was found slow. */
const MIN_GROWTH_BYTES = 1024 * 1024;
/** A client that sends nothing for so long waits for its reply, in ms. */
const MAX_IDLE_MS = 1_000;
/** Longest that the rest of a refused body is read, in ms. */
const MAX_DISCARD_MS = 10_000;

/** What to read a body with. */
export interface ArrivingBodyOptions {
  readonly budget: RequestBudget;
  /** Size that the client declares, or undefined when it does not say. */
  readonly declaredBytes: number | undefined;
}

/**
 * A request body that takes its share of a {@link RequestBudget} when more has come than the size of a small one. A body
 * that no longer comes keeps a share for what has come only, and waits for the rest of it like others when it goes on.
 * One of unknown size has the share of the largest at first, so that it need not wait half-way; when it turns out to be slow,
 * twice of what has come.
 */
export class ArrivingBody {
  /** The body; fails with OVERLOADED when there is no share. */
  readonly stream: Readable;
  readonly #body: Readable;
  readonly #budget: RequestBudget;
  readonly #passing: Transform;
  readonly #over = new AbortController();
  readonly #declaredBytes: number | undefined;
  #hold: RequestHold | undefined;
  /** What may come before a share, or more of it, is needed. */
  #coveredBytes = SMALL_REQUEST_BYTES;
  #isComplete = false;
  #arrivedBytes = 0;
  #stallCheck: NodeJS.Timeout | undefined;

  constructor(body: Readable, { budget, declaredBytes }: ArrivingBodyOptions) {
    this.#body = body;
    this.#budget = budget;
    this.#declaredBytes = declaredBytes;
    this.#passing = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        this.#arrivedBytes += chunk.length;
        if (this.#arrivedBytes <= this.#coveredBytes) done(null, chunk);
        else this.#takeShare().then(() => done(null, chunk), done);
      },
      flush: (done) => {
        this.#complete();
        done();
      },
    });
    this.stream = this.#passing;
    // A share may be refused when nobody reads the body any more.
    this.#passing.on("error", () => this.#body.unpipe(this.#passing));
    // Not a pipeline, which would close the connection before a refusal has left.
    body.on("error", (cause) => this.#passing.destroy(cause));
    body.pipe(this.#passing);
  }

  /** Whether all of it has come. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Gives the share back, and takes none any more; again is no harm. */
  end(): void {
    this.#over.abort();
    clearTimeout(this.#stallCheck);
    this.#hold?.release();
    if (this.#isComplete) return;
    this.#body.unpipe(this.#passing);
    this.#passing.destroy();
  }

  /**
   * Reads what is still to come and drops it, for clients that look for a reply when they have sent everything. Resolves when
   * there is no more, the client sends no more for a second, or it is too much; never rejects.
   */
  discard(): Promise<void> {
    const body = this.#body;
    if (body.readableEnded || body.destroyed) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const idle = setTimeout(resolve, MAX_IDLE_MS);
    const late = setTimeout(resolve, MAX_DISCARD_MS);
    let bytes = 0;
    const onData = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_BODY_BYTES) resolve();
      else idle.refresh();
    };
    body.on("data", onData).once("end", resolve).once("close", resolve).resume();
    return promise.finally(() => {
      clearTimeout(idle);
      clearTimeout(late);
      body.off("data", onData).off("end", resolve).off("close", resolve);
    });
  }

  async #takeShare(): Promise<void> {
    const { signal } = this.#over;
    const bytes = this.#shareBytes();
    const hold = this.#hold ?? (await this.#budget.hold(bytes, signal));
    if (this.#hold === undefined) this.#hold = hold;
    else await hold.growTo(bytes, signal);
    // It may have ended just when it was served.
    if (signal.aborted) {
      hold.release();
      return;
    }
    // What is larger than any is refused by who reads it.
    this.#coveredBytes = bytes < MAX_BODY_BYTES ? bytes : Number.POSITIVE_INFINITY;
    this.#watch(Math.ceil((bytes - this.#arrivedBytes) / MAX_CHECKS));
  }

  #shareBytes(): number {
    if (this.#declaredBytes !== undefined) return Math.min(this.#declaredBytes, MAX_BODY_BYTES);
    if (this.#hold === undefined) return MAX_BODY_BYTES;
    const growth = Math.max(this.#arrivedBytes, MIN_GROWTH_BYTES);
    return Math.min(this.#arrivedBytes + growth, MAX_BODY_BYTES);
  }

  /** Who sends less than that between two looks shall not keep others out. */
  #watch(leastBytes: number): void {
    const beforeBytes = this.#arrivedBytes;
    clearTimeout(this.#stallCheck);
    this.#stallCheck = setTimeout(() => {
      if (this.#arrivedBytes - beforeBytes >= leastBytes) return this.#watch(leastBytes);
      this.#coveredBytes = this.#arrivedBytes;
      this.#hold?.shrinkTo(this.#arrivedBytes);
    }, STALL_CHECK_MS);
    this.#stallCheck.unref();
  }

  #complete(): void {
    this.#isComplete = true;
    clearTimeout(this.#stallCheck);
    this.#hold?.shrinkTo(this.#arrivedBytes);
  }
}
