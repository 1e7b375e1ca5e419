import { type Context, createContext, Script } from "node:vm";

/** What a bounded run came to. */
export type RunOutcome<T> =
  | { readonly kind: "done"; readonly value: T }
  | { readonly kind: "interrupted" };

/**
 * Runs synchronous work of others, and cuts it off when it takes too long. The cut comes anywhere, past every
 * `catch` and `finally`, so the work must be pure but for what it can leave half done.
 */
export class Interruptible {
  readonly #realm: Context & { work?: () => void } = createContext({});
  // Node offers a deadline for scripts only.
  readonly #script = new Script("work()");

  /** Gives what the work returns, or that it took longer than `limitMs`. What it throws is thrown. */
  run<T>(work: () => T, limitMs: number): RunOutcome<T> {
    let outcome: RunOutcome<T> = { kind: "interrupted" };
    this.#realm.work = () => {
      outcome = { kind: "done", value: work() };
    };
    try {
      this.#script.runInContext(this.#realm, { timeout: limitMs });
    } catch (thrown) {
      if (!isTimeout(thrown)) throw thrown;
    } finally {
      delete this.#realm.work;
    }
    return outcome;
  }
}

/** The error belongs to the script's own realm, so it is no `Error` of ours. */
function isTimeout(thrown: unknown): boolean {
  return (thrown as { code?: unknown } | null)?.code === "ERR_SCRIPT_EXECUTION_TIMEOUT";
}
