import { at, textAt } from "../cluster-view.ts";
import { LineBudget } from "./error-lines.ts";
import type { LogFile } from "./log-file.ts";
import { inOwnWords } from "./own-words.ts";
import type { SupervisorListener } from "./supervisor.ts";
import type { Terminal } from "./terminal.ts";

/** How the programs' log marks a line that somebody should look at. */
const ERROR_MARK = '"level":"error"';
const TERMINAL_LINES = 100;
const TERMINAL_WINDOW_MS = 10_000;

/** Where the programs' lines go. */
export interface ProgramVoicesOptions {
  readonly terminal: Terminal;
  /** Log of each program, by name. */
  readonly logs: ReadonlyMap<string, LogFile>;
  /** Whether standard output is shown on the terminal too. */
  readonly verbose: boolean;
}

/**
 * Writes every line of the programs to their logs, standard error and log lines of level "error" also to
 * the terminal: at most 100 lines in 10 s per program, a line that repeats the one before only once, and
 * settings named as `berth up` takes them.
 */
export class ProgramVoices implements SupervisorListener {
  readonly #options: ProgramVoicesOptions;
  readonly #budgets = new Map<string, LineBudget>();
  readonly #lastShown = new Map<string, string>();

  constructor(options: ProgramVoicesOptions) {
    this.#options = options;
  }

  onLine(program: string, stream: "stdout" | "stderr", line: string): void {
    this.#options.logs.get(program)?.write(line);
    if (stream === "stderr") this.#showError(program, line);
    else if (this.#options.verbose) this.#options.terminal.print(prefixed(program, line));
    else if (line.includes(ERROR_MARK)) this.#showError(program, errorText(line));
  }

  onRestart(program: string, how: string, delayMs: number): void {
    const seconds = (delayMs / 1000).toFixed(1);
    this.#tell(program, `${program} ${how}; restarting in ${seconds} s`);
  }

  onBack(program: string): void {
    this.#lastShown.delete(program);
    this.#tell(program, `${program} is back`);
  }

  #tell(program: string, line: string): void {
    this.#options.logs.get(program)?.write(`supervisor: ${line}`);
    this.#options.terminal.print(line);
  }

  #showError(program: string, line: string): void {
    const { terminal, logs } = this.#options;
    if (this.#lastShown.get(program) === line) return;
    const { allowed, heldBefore } = this.#budget(program).take(performance.now());
    if (heldBefore > 0) {
      terminal.print(prefixed(program, `${heldBefore} more lines in ${logs.get(program)?.path}`));
    }
    if (!allowed) return;
    this.#lastShown.set(program, line);
    terminal.print(prefixed(program, inOwnWords(program, line)));
  }

  #budget(program: string): LineBudget {
    const known = this.#budgets.get(program);
    if (known !== undefined) return known;
    const made = new LineBudget(TERMINAL_LINES, TERMINAL_WINDOW_MS);
    this.#budgets.set(program, made);
    return made;
  }
}

/** What a log line of level "error" says, for people. */
function errorText(line: string): string {
  try {
    const entry: unknown = JSON.parse(line);
    const detail =
      textAt(entry, "message") ?? textAt(at(entry, "err"), "message") ?? textAt(entry, "why");
    const what = textAt(entry, "msg") ?? line;
    return detail === undefined ? what : `${what}: ${detail}`;
  } catch {
    return line;
  }
}

/** A program's own messages begin with its name already. */
function prefixed(program: string, line: string): string {
  return line.startsWith(`${program}: `) ? line : `${program}: ${line}`;
}
