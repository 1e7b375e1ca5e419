import { type Config, choiceSetting, loadConfig, type Settings } from "./config.ts";
import { isBerthError } from "./errors.ts";
import { type Part, startAll, stopAll } from "./lifecycle.ts";
import { createLogger, LOG_LEVELS, type Logger } from "./log.ts";

/** The parts of `node:process` that a program needs; `main.ts` passes the real one. */
export interface ProcessLike {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: NodeJS.ReadableStream;
  readonly stderr: { write(text: string): unknown };
  on(event: "SIGTERM" | "SIGINT" | "SIGHUP", listener: () => void): unknown;
  on(event: "uncaughtException", listener: (thrown: unknown) => void): unknown;
  exit(code: number): never;
}

/** A program: its settings and how it is put together. */
export interface Program<S extends Settings> {
  readonly name: string;
  readonly settings: S;
  compose(config: Config<S>, logger: Logger): readonly Part[] | Promise<readonly Part[]>;
}

const STOP_LIMIT_MS = 10_000;

const LOG_LEVEL = choiceSetting({
  env: "BERTH_LOG_LEVEL",
  doc: "least severe log lines that are written",
  fallback: "info",
  choices: LOG_LEVELS,
});

/**
 * Runs a program until SIGTERM, SIGINT, SIGHUP or, with BERTH_SUPERVISED=1, until standard input
 * closes (the supervisor holds the other end, so a program never outlives it). A second signal is the
 * same request, and one during the start ends it at the next part. Exit code 0 after an orderly stop,
 * 1 after a failed start, a bug, or a stop that took longer than 10 s; bad settings and a failed
 * start print one clear line on standard error.
 */
export async function runProgram<S extends Settings>(
  program: Program<S>,
  process: ProcessLike,
): Promise<void> {
  const loaded = loadConfig(program.settings, process.env);
  const level = loadConfig({ level: LOG_LEVEL }, process.env);
  if (loaded.kind === "invalid" || level.kind === "invalid") {
    const problems = [loaded, level].flatMap((one) => (one.kind === "invalid" ? one.problems : []));
    process.stderr.write(`${program.name}: bad settings: ${problems.join("; ")}\n`);
    process.exit(1);
  }
  const logger = createLogger({ program: program.name, level: level.config.level });
  process.on("uncaughtException", (err) => {
    logger.error("uncaught exception", { err });
    process.stderr.write(`${program.name}: uncaught exception: ${describe(err)}\n`);
    process.exit(1);
  });
  const stop = stopRequests(process);
  let parts: readonly Part[] = [];
  try {
    parts = await startAll(await program.compose(loaded.config, logger), logger, stop.signal);
  } catch (err) {
    logger.error("start failed", { err });
    process.stderr.write(`${program.name}: ${isBerthError(err) ? err.message : describe(err)}\n`);
    process.exit(1);
  }
  if (!stop.signal.aborted) logger.info("started");
  await stop.requested;
  logger.info("stopping");
  await stopAll(parts, logger);
  stop.limit.clear();
  process.exit(0);
}

interface StopRequests {
  /** Aborted by the first request. */
  readonly signal: AbortSignal;
  readonly requested: Promise<void>;
  /** The time that a stop may take; it runs from the first request, also while the program starts. */
  readonly limit: { clear(): void };
}

function stopRequests(process: ProcessLike): StopRequests {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const requested = new Promise<void>((resolve) => {
    const request = (): void => {
      if (controller.signal.aborted) return;
      timer = setTimeout(() => process.exit(1), STOP_LIMIT_MS);
      controller.abort();
      resolve();
    };
    process.on("SIGTERM", request);
    process.on("SIGINT", request);
    process.on("SIGHUP", request);
    if (process.env.BERTH_SUPERVISED !== "1") return;
    for (const event of ["end", "close", "error"]) process.stdin.on(event, request);
    process.stdin.resume();
  });
  return { signal: controller.signal, requested, limit: { clear: () => clearTimeout(timer) } };
}

/** Anything can be thrown, null too. */
function describe(thrown: unknown): string {
  return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
}
