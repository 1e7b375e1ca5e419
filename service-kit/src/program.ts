import { type Config, loadConfig, type Settings } from "./config.ts";
import { isBerthError } from "./errors.ts";
import { type Part, startAll, stopAll } from "./lifecycle.ts";
import { createLogger, LOG_LEVELS, type Logger, type LogLevel } from "./log.ts";

/** The parts of `node:process` that a program needs; `main.ts` passes the real one. */
export interface ProcessLike {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: NodeJS.ReadableStream;
  readonly stderr: { write(text: string): unknown };
  on(event: "SIGTERM" | "SIGINT" | "SIGHUP", listener: () => void): unknown;
  on(event: "uncaughtException", listener: (error: Error) => void): unknown;
  exit(code: number): never;
}

/** A program: its settings and how it is put together. */
export interface Program<S extends Settings> {
  readonly name: string;
  readonly settings: S;
  compose(config: Config<S>, logger: Logger): readonly Part[] | Promise<readonly Part[]>;
}

const STOP_LIMIT_MS = 10_000;

/**
 * Runs a program until SIGTERM, SIGINT or, with BERTH_SUPERVISED=1, until standard input closes (the
 * supervisor holds the other end, so a program never outlives it). A second signal is the same
 * request. Exit code 0 after an orderly stop, 1 after a failed start, a bug, or a stop that took
 * longer than 10 s; a failed start prints one clear line on standard error.
 */
export async function runProgram<S extends Settings>(
  program: Program<S>,
  process: ProcessLike,
): Promise<void> {
  const loaded = loadConfig(program.settings, process.env);
  if (loaded.kind === "invalid") {
    process.stderr.write(`${program.name}: bad settings: ${loaded.problems.join("; ")}\n`);
    process.exit(1);
  }
  const logger = createLogger({ program: program.name, level: logLevelOf(process.env) });
  process.on("uncaughtException", (err) => {
    logger.error("uncaught exception", { err });
    process.stderr.write(`${program.name}: uncaught exception: ${err.stack ?? err.message}\n`);
    process.exit(1);
  });
  const stopRequested = whenStopRequested(process);
  let parts: readonly Part[] = [];
  try {
    parts = await program.compose(loaded.config, logger);
    await startAll(parts, logger);
  } catch (err) {
    logger.error("start failed", { err });
    process.stderr.write(`${program.name}: ${startFailure(err)}\n`);
    process.exit(1);
  }
  logger.info("started");
  await stopRequested;
  logger.info("stopping");
  const limit = setTimeout(() => process.exit(1), STOP_LIMIT_MS);
  await stopAll(parts, logger);
  clearTimeout(limit);
  process.exit(0);
}

function whenStopRequested(process: ProcessLike): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
      process.on(signal as "SIGTERM", resolve);
    }
    if (process.env.BERTH_SUPERVISED !== "1") return;
    process.stdin.on("end", resolve);
    process.stdin.on("error", resolve);
    process.stdin.resume();
  });
}

function logLevelOf(env: ProcessLike["env"]): LogLevel {
  const level = env.BERTH_LOG_LEVEL;
  return LOG_LEVELS.find((known) => known === level) ?? "info";
}

function startFailure(thrown: unknown): string {
  if (isBerthError(thrown)) return thrown.message;
  return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
}
