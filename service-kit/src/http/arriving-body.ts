import { type Readable, Transform } from "node:stream";
import {
  MAX_BODY_BYTES,
  type RequestBudget,
  type RequestHold,
  SMALL_REQUEST_BYTES,
} from "./request-budget.ts";

/** How often it is looked whether a body still comes, in ms. */
const STALL_CHECK_MS = 1_000;
/** A body that would take longer than this many checks holds what has come of it only. */
const MAX_CHECKS = 32;
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
 */
export class ArrivingBody {
  /** The body; fails with OVERLOADED when there is no share. */
  readonly stream: Readable;
  readonly #body: Readable;
  readonly #budget: RequestBudget;
  readonly #passing: Transform;
  readonly #over = new AbortController();
  readonly #expectedBytes: number;
  #hold: RequestHold | undefined;
  #isWhole = false;
  #isComplete = false;
  #arrivedBytes = 0;
  #stallCheck: NodeJS.Timeout | undefined;

  constructor(body: Readable, { budget, declaredBytes }: ArrivingBodyOptions) {
    this.#body = body;
    this.#budget = budget;
    this.#expectedBytes = Math.min(declaredBytes ?? MAX_BODY_BYTES, MAX_BODY_BYTES);
    this.#passing = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        this.#arrivedBytes += chunk.length;
        if (this.#isWhole || this.#arrivedBytes <= SMALL_REQUEST_BYTES) done(null, chunk);
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
    const hold = this.#hold ?? (await this.#budget.hold(this.#expectedBytes, signal));
    if (this.#hold === undefined) this.#hold = hold;
    else await hold.growTo(this.#expectedBytes, signal);
    // It may have ended just when it was served.
    if (signal.aborted) {
      hold.release();
      return;
    }
    this.#isWhole = true;
    this.#watch();
  }

  /** Who sends nothing shall not keep others out. */
  #watch(): void {
    const beforeBytes = this.#arrivedBytes;
    const expectedBytes = Math.ceil(this.#expectedBytes / MAX_CHECKS);
    this.#stallCheck = setTimeout(() => {
      if (this.#arrivedBytes - beforeBytes >= expectedBytes) return this.#watch();
      this.#isWhole = false;
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
