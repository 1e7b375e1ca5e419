import { type DestinationStream, type Logger as PinoLogger, pino, stdSerializers } from "pino";

/** Extra facts of a log line. `err` may hold anything that was thrown. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Structured log: a constant message plus fields. No secret, token or policy input goes in. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds these fields to each line. */
  child(fields: LogFields): Logger;
}

/** Levels that can be set, from most to least. */
export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;

/** One of {@link LOG_LEVELS}. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Logger that writes JSON lines to `destination` (default: standard output). */
export function createLogger(
  options: { program: string; level: LogLevel },
  destination?: DestinationStream,
): Logger {
  const settings = {
    level: options.level,
    base: { program: options.program },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: serializeError },
  };
  return wrap(destination ? pino(settings, destination) : pino(settings));
}

/** Logger that drops everything, for tests and libraries without one. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
};

/** A logger never throws, whatever was thrown: getters that throw, causes nested too deep. */
function serializeError(err: unknown): unknown {
  try {
    return stdSerializers.errWithCause(err as Error);
  } catch (why) {
    return { type: "Unserializable", message: why instanceof Error ? why.message : "unknown" };
  }
}

function wrap(inner: PinoLogger): Logger {
  return {
    debug: (message, fields = {}) => inner.debug(fields, message),
    info: (message, fields = {}) => inner.info(fields, message),
    warn: (message, fields = {}) => inner.warn(fields, message),
    error: (message, fields = {}) => inner.error(fields, message),
    child: (fields) => wrap(inner.child(fields)),
  };
}
