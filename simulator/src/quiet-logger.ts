import type { Logger } from "@berth/service-kit";

/**
 * A logger for the agents of a fleet: what they say in good order ("registered", 10,000 times over)
 * becomes "debug".
 */
export function quietLogger(inner: Logger): Logger {
  return {
    debug: (message, fields) => inner.debug(message, fields),
    info: (message, fields) => inner.debug(message, fields),
    warn: (message, fields) => inner.warn(message, fields),
    error: (message, fields) => inner.error(message, fields),
    // No logger of its own for each of 10,000 nodes: the fields are added when a line is written.
    child: (fields) => quietLogger(withFields(inner, fields)),
  };
}

function withFields(inner: Logger, own: Readonly<Record<string, unknown>>): Logger {
  return {
    debug: (message, fields) => inner.debug(message, { ...own, ...fields }),
    info: (message, fields) => inner.info(message, { ...own, ...fields }),
    warn: (message, fields) => inner.warn(message, { ...own, ...fields }),
    error: (message, fields) => inner.error(message, { ...own, ...fields }),
    child: (fields) => withFields(inner, { ...own, ...fields }),
  };
}
