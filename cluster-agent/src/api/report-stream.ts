import type { NodeReportRequest } from "@berth/proto";
import { BerthError } from "@berth/service-kit";
import type { Registration } from "../nodes/node-registration.ts";

/** The newest registration with an id, undefined when that is none. */
export type FindRegistration = (id: string) => Registration | undefined;

/** Checks the fencing of one report stream: one registration of the key's node, numbers without a gap. */
export class ReportSequence {
  readonly #find: FindRegistration;
  #registration: Registration | undefined;
  #seq = 0n;

  constructor(find: FindRegistration) {
    this.#find = find;
  }

  /** Registration of the stream, once its first message was taken in. */
  get registration(): Registration | undefined {
    return this.#registration;
  }

  /**
   * Takes the next message of a stream whose key speaks for `nodeId`; throws CONFLICT (ABORTED on the
   * wire), PERMISSION_DENIED or INVALID_ARGUMENT.
   */
  next({ registrationId, streamSeq }: NodeReportRequest, nodeId: string): Registration {
    const registration = this.#registration ?? this.#find(registrationId);
    if (registration !== undefined && registration.nodeId !== nodeId) {
      const message = "registration_id: it belongs to another node than the key";
      throw new BerthError("PERMISSION_DENIED", message);
    }
    this.#registration = registration;
    if (registration?.id !== registrationId || registration.ended.aborted) {
      throw new BerthError("CONFLICT", "registration_id: it is not the newest of its node");
    }
    if (streamSeq !== this.#seq + 1n) {
      const message = `stream_seq: expected ${this.#seq + 1n}, got ${streamSeq}`;
      throw new BerthError("INVALID_ARGUMENT", message);
    }
    this.#seq = streamSeq;
    return registration;
  }
}

/** What {@link StreamReader.next} came back with. */
export type StreamStep<T> =
  | { readonly kind: "message"; readonly message: T }
  | { readonly kind: "end" }
  | { readonly kind: "silent" }
  | { readonly kind: "aborted" };

/**
 * Reads one stream with one timer and one set of listeners for all of its messages: a cluster has some
 * hundred messages each second.
 */
export class StreamReader<T> {
  readonly #source: AsyncIterator<T>;
  readonly #timer: NodeJS.Timeout;
  readonly #signals: AbortSignal[] = [];
  readonly #abort = () => this.#settle?.({ kind: "aborted" });
  #settle: ((step: StreamStep<T>) => void) | undefined;

  /** `silenceMs`: longest wait for one message. */
  constructor(source: AsyncIterator<T>, silenceMs: number) {
    this.#source = source;
    this.#timer = setTimeout(() => this.#settle?.({ kind: "silent" }), silenceMs);
  }

  /** Ends the reading as soon as this signal is aborted, too. */
  endWith(signal: AbortSignal): void {
    this.#signals.push(signal);
    signal.addEventListener("abort", this.#abort, { once: true });
  }

  /**
   * Next message of the stream, its end, `silent` when none came in time, or `aborted` as soon as one of
   * the signals is. Rejects when the stream breaks. One call at a time.
   */
  async next(): Promise<StreamStep<T>> {
    if (this.#signals.some((signal) => signal.aborted)) return { kind: "aborted" };
    const { promise, resolve, reject } = Promise.withResolvers<StreamStep<T>>();
    this.#settle = resolve;
    this.#timer.refresh();
    this.#source.next().then(({ done, value }) => {
      resolve(done === true ? { kind: "end" } : { kind: "message", message: value });
    }, reject);
    return promise;
  }

  /** Frees the timer and the listeners. */
  close(): void {
    clearTimeout(this.#timer);
    for (const signal of this.#signals) signal.removeEventListener("abort", this.#abort);
  }
}
