/** Exit codes of `berth`, as its help lists them. */
export const EXIT_CODES = { ok: 0, failed: 1, usage: 2, unschedulable: 3 } as const;

/** A failure that a user can act on: one line that says what happened and what to do next. */
export class CliError extends Error {
  override readonly name = "CliError";
  /** One of {@link EXIT_CODES}: 1 unless the command line itself is wrong. */
  readonly exitCode: number;

  constructor(message: string, options: { exitCode?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.exitCode = options.exitCode ?? EXIT_CODES.failed;
  }
}

/** The error of a wrong command line: exit code 2. */
export function usageError(message: string): CliError {
  return new CliError(message, { exitCode: EXIT_CODES.usage });
}

/** Message of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** System error code ("ENOENT") of anything that was thrown, undefined when it has none. */
export function errorCodeOf(thrown: unknown): string | undefined {
  if (typeof thrown !== "object" || thrown === null || !("code" in thrown)) return undefined;
  return typeof thrown.code === "string" ? thrown.code : undefined;
}
