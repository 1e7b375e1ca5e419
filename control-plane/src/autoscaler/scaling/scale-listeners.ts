import type { Confirmation } from "./scale-messages.ts";
import type { ScaleRequest } from "./scale-request.ts";

/** Hears of requests that wait for a human, that are to be applied, and that are over. Must not throw. */
export interface ScaleListener {
  /** A human is to approve it. */
  readonly onWaiting?: (request: ScaleRequest) => void;
  readonly onPending?: (request: ScaleRequest) => void;
  /** `message` is what confirmed it; undefined when nothing did. */
  readonly onOver?: (request: ScaleRequest, message: Confirmation["message"] | undefined) => void;
}

/** Those who hear what becomes of requests. */
export class ScaleListeners {
  readonly #listeners = new Set<ScaleListener>();

  /** Calls back; gives the function that ends that. */
  listen(listener: ScaleListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  waiting(request: ScaleRequest): void {
    for (const { onWaiting } of this.#listeners) onWaiting?.(request);
  }

  pending(request: ScaleRequest): void {
    for (const { onPending } of this.#listeners) onPending?.(request);
  }

  over(request: ScaleRequest, message?: Confirmation["message"]): void {
    for (const { onOver } of this.#listeners) onOver?.(request, message);
  }
}
