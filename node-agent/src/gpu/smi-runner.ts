import { type SmiCommand, type SmiEnd, SmiProcess } from "./smi-process.ts";
import { untilAborted } from "./until-aborted.ts";

/** What a {@link SmiRunner} works with. */
export interface SmiRunnerOptions {
  readonly smi: SmiCommand;
  /** How long a killed child may take to die before it counts as hung in the driver, in ms. */
  readonly abandonAfterMs: number;
  /** Called when the first child was abandoned, and when the last one of them is gone. */
  readonly onHung: (hung: boolean) => void;
}

/** How one query ended. */
export type SmiAnswer =
  /**
   * It ended; `lines` are those of standard output and standard error, in the order they came. `isCut`:
   * there were more than are held.
   */
  | {
      readonly kind: "ended";
      readonly end: Exclude<SmiEnd, { kind: "abandoned" }>;
      readonly lines: readonly string[];
      readonly isCut: boolean;
    }
  /** It did not end in time and was killed. */
  | { readonly kind: "timed_out" }
  /** It was killed and did not die, or an earlier child has not died yet and none was started. */
  | { readonly kind: "driver_hung" }
  /** The signal was aborted. */
  | { readonly kind: "aborted" };

/** Limits of one query. */
export interface QueryLimits {
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

/** What one query may print; the log of eight GPUs has about 5,000 lines and 150,000 characters. */
const MAX_CHARACTERS = 4_194_304;

/**
 * Starts `nvidia-smi` children, and none beside one that was killed and did not die (failure model §5):
 * a process in D state says that the driver hangs, and another one would hang too.
 */
export class SmiRunner {
  readonly #options: SmiRunnerOptions;
  #abandoned = 0;
  #free = Promise.withResolvers<void>();

  constructor(options: SmiRunnerOptions) {
    this.#options = options;
    this.#free.resolve();
  }

  /** Whether a child was killed and has not died. */
  get hung(): boolean {
    return this.#abandoned > 0;
  }

  /** Resolves when no such child is left, or `signal` is aborted. */
  async untilFree(signal: AbortSignal): Promise<void> {
    while (this.hung && !signal.aborted) await untilAborted(this.#free.promise, signal);
  }

  /** Starts a child; undefined while the driver hangs. */
  start(args: readonly string[], onLine: (line: string) => void): SmiProcess | undefined {
    if (this.hung) return undefined;
    const { smi, abandonAfterMs } = this.#options;
    const child = new SmiProcess({ smi, args, onLine, abandonAfterMs });
    void child.ended.then((end) => {
      if (end.kind === "abandoned") this.#abandon(child);
    });
    return child;
  }

  /**
   * Runs one query to its end. Never rejects; ends at the latest `deadlineMs` plus `abandonAfterMs`
   * after the call, or `abandonAfterMs` after the signal. Lines beyond 4 Mi characters are dropped.
   */
  async query(args: readonly string[], { deadlineMs, signal }: QueryLimits): Promise<SmiAnswer> {
    if (signal.aborted) return { kind: "aborted" };
    const lines: string[] = [];
    let characters = 0;
    const child = this.start(args, (line) => {
      characters += line.length + 1;
      if (characters <= MAX_CHARACTERS) lines.push(line);
    });
    if (child === undefined) return { kind: "driver_hung" };
    let timedOut = false;
    const kill = () => child.kill();
    const timer = setTimeout(() => {
      timedOut = true;
      kill();
    }, deadlineMs);
    signal.addEventListener("abort", kill, { once: true });
    const end = await child.ended;
    clearTimeout(timer);
    signal.removeEventListener("abort", kill);
    if (end.kind === "abandoned") return { kind: "driver_hung" };
    if (signal.aborted) return { kind: "aborted" };
    const isCut = characters > MAX_CHARACTERS;
    return timedOut ? { kind: "timed_out" } : { kind: "ended", end, lines, isCut };
  }

  #abandon(child: SmiProcess): void {
    this.#abandoned += 1;
    if (this.#abandoned === 1) {
      this.#free = Promise.withResolvers<void>();
      this.#options.onHung(true);
    }
    void child.gone.then(() => {
      this.#abandoned -= 1;
      if (this.#abandoned > 0) return;
      this.#options.onHung(false);
      this.#free.resolve();
    });
  }
}
