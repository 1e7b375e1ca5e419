import { type BackoffOptions, backoffMs, sleep } from "@berth/service-kit";

/** How {@link insist} goes on. */
export interface InsistOptions {
  readonly retry: BackoffOptions;
  /** Ends the attempts. */
  readonly signal: AbortSignal;
  /** Hears of the first failure, and of each that differs from the one before it. */
  readonly onFailure: (thrown: unknown) => void;
}

/** What the attempts came to. */
export type Insisted<T> =
  | { readonly kind: "done"; readonly value: T }
  | { readonly kind: "stopped" };

/**
 * Attempts a task until it succeeds, with a growing, jittered delay, or until it is stopped; once at least. Never
 * rejects.
 */
export async function insist<T>(
  task: () => Promise<T>,
  { retry, signal, onFailure }: InsistOptions,
): Promise<Insisted<T>> {
  let told: string | undefined;
  for (let failures = 1; ; failures += 1) {
    try {
      return { kind: "done", value: await task() };
    } catch (thrown) {
      const why = String(thrown);
      if (why !== told) onFailure(thrown);
      told = why;
    }
    await sleep(backoffMs(failures, retry), signal);
    if (signal.aborted) return { kind: "stopped" };
  }
}
