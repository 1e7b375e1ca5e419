import { BerthError } from "@berth/service-kit";
import type { ScaleBook } from "./scale-book.ts";
import type { ScaleListeners } from "./scale-listeners.ts";
import type { Confirmation } from "./scale-messages.ts";
import { isOpen, type ScaleRequest } from "./scale-request.ts";
import type { AskedReplicas, Scaling } from "./scaling.ts";

/** What became of a request while somebody waited for it. */
export type ScaleEnd =
  | {
      readonly kind: "over";
      readonly request: ScaleRequest;
      /** What confirmed it; undefined when nothing did. */
      readonly message: Confirmation["message"] | undefined;
    }
  /** It goes on, and nobody waits for it any more. */
  | { readonly kind: "waiting"; readonly request: ScaleRequest };

/** Requests that are waited for at a time. */
const MAX_WAITING = 10_000;

interface Waiting {
  readonly done: (end: ScaleEnd) => void;
}

/** What a {@link Scaler} works with. */
export interface ScalerDeps {
  readonly scaling: Pick<Scaling, "request">;
  readonly scale: Pick<ScaleBook, "get">;
  readonly listeners: ScaleListeners;
}

/** Makes requests to scale and waits for their ends. */
export class Scaler {
  readonly #scaling: ScalerDeps["scaling"];
  readonly #scale: ScalerDeps["scale"];
  /** By uuid. */
  readonly #waiting = new Map<string, Set<Waiting>>();
  #count = 0;
  /** Ends of requests that came while these were being made. */
  readonly #early = new Map<string, ScaleEnd>();
  #making = 0;

  constructor({ scaling, scale, listeners }: ScalerDeps) {
    this.#scaling = scaling;
    this.#scale = scale;
    listeners.listen({
      onOver: (request, message) => this.#over({ kind: "over", request, message }),
    });
  }

  /** Number of those who wait. */
  get waiting(): number {
    return this.#count;
  }

  /**
   * Makes a request and waits for its end, `timeoutMs` at most or until the signal is aborted; neither cancels it. Rejects as
   * {@link Scaling.request} does, and OVERLOADED when too many wait.
   */
  async scaleAndWait(
    asked: AskedReplicas,
    limits: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<ScaleEnd> {
    if (this.#count >= MAX_WAITING) {
      throw new BerthError(
        "OVERLOADED",
        `${MAX_WAITING} requests are waited for, which is the most`,
      );
    }
    this.#making += 1;
    let request: ScaleRequest;
    try {
      request = await this.#scaling.request(asked);
    } finally {
      this.#making -= 1;
    }
    const early = this.#early.get(request.uuid);
    this.#early.delete(request.uuid);
    if (this.#making === 0) this.#early.clear();
    return early ?? this.#wait(request, limits);
  }

  /** Waits for the end of a request that is there. NOT_FOUND. */
  async wait(
    uuid: string,
    limits: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<ScaleEnd> {
    const request = this.#scale.get(uuid);
    if (request === undefined)
      throw new BerthError("NOT_FOUND", `no request ${JSON.stringify(uuid.slice(0, 100))}`);
    return isOpen(request)
      ? this.#wait(request, limits)
      : { kind: "over", request, message: undefined };
  }

  #wait(
    request: ScaleRequest,
    { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<ScaleEnd> {
    const { uuid } = request;
    return new Promise((resolve) => {
      const end = (found: ScaleEnd) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", giveUp);
        if (all.delete(waiting)) this.#count -= 1;
        if (all.size === 0) this.#waiting.delete(uuid);
        resolve(found);
      };
      const giveUp = () => end({ kind: "waiting", request: this.#scale.get(uuid) ?? request });
      const waiting = { done: end };
      const all = this.#waiting.get(uuid) ?? new Set<Waiting>();
      this.#waiting.set(uuid, all.add(waiting));
      this.#count += 1;
      const timer = setTimeout(giveUp, timeoutMs);
      if (signal.aborted) giveUp();
      else signal.addEventListener("abort", giveUp, { once: true });
    });
  }

  #over(end: ScaleEnd): void {
    const { uuid } = end.request;
    const waiting = [...(this.#waiting.get(uuid) ?? [])];
    for (const { done } of waiting) done(end);
    if (this.#making === 0 || waiting.length > 0) return;
    this.#early.set(uuid, end);
    const [oldest] = this.#early.keys();
    if (this.#early.size > MAX_WAITING && oldest !== undefined) this.#early.delete(oldest);
  }
}
