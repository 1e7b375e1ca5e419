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

/** What {@link nextMessage} came back with. */
export type StreamStep<T> =
  | { readonly kind: "message"; readonly message: T }
  | { readonly kind: "end" }
  | { readonly kind: "silent" }
  | { readonly kind: "aborted" };

/**
 * Next message of a stream, its end, `silent` after `silenceMs` without one, or `aborted` as soon as one of
 * the signals is. Rejects when the stream breaks.
 */
export async function nextMessage<T>(
  source: AsyncIterator<T>,
  limits: { readonly silenceMs: number; readonly signals: readonly AbortSignal[] },
): Promise<StreamStep<T>> {
  const { signals, silenceMs } = limits;
  if (signals.some((signal) => signal.aborted)) return { kind: "aborted" };
  const listening = new AbortController();
  const stopped = new Promise<StreamStep<T>>((resolve) => {
    const timer = setTimeout(() => resolve({ kind: "silent" }), silenceMs);
    listening.signal.addEventListener("abort", () => clearTimeout(timer));
    for (const signal of signals) {
      const options = { once: true, signal: listening.signal };
      signal.addEventListener("abort", () => resolve({ kind: "aborted" }), options);
    }
  });
  try {
    const next = source.next().then((result): StreamStep<T> => {
      return result.done === true ? { kind: "end" } : { kind: "message", message: result.value };
    });
    return await Promise.race([next, stopped]);
  } finally {
    listening.abort();
  }
}
