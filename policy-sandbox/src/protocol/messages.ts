/** How a worker is started; its only argument, as JSON. */
export interface WorkerConfig {
  /** `build` makes the memory image, sends it and leaves; `serve` runs evaluations from one. */
  readonly mode: "build" | "serve";
  /** Folder of the pyodide package, with a trailing slash. */
  readonly pyodideDir: string;
  readonly xzScript: string;
  /** Only for `serve`. */
  readonly snapshotFile: string;
}

/** Exit codes of a worker that ended itself. */
export const EXIT = {
  /** The host closed the channel. */
  closed: 0,
  /** It could not start, or its own code failed; stderr says why. */
  failed: 1,
  /** The interpreter is beyond use; a `trap` frame went ahead. */
  trap: 70,
  /** The policy ignored the interrupt of its wall deadline. */
  wall: 86,
  /** The policy ignored the interrupt of its CPU deadline. */
  cpu: 87,
} as const;

/** The byte that goes ahead of every run message, so that waiting and reading are two steps. Never 0. */
export const BELL = {
  /** The run is over, one way or the other, within `SHORT_RUN_MS`. */
  short: 1,
  /** It may take longer and gets a watchdog of its own. */
  long: 2,
} as const;

/** More than the longest wall limit of LIMITS_BY_KIND, its grace and the watchdog's slack. */
export const SHORT_RUN_MS = 32_000;

/** How long after wall limit and grace the worker's own watchdog ends it, when no host is left to do so. */
export const WATCHDOG_SLACK_MS = 500;

/**
 * Host to worker: run one request. The worker's first answer is `started` with this id, when it has read all of
 * the request and before it does anything of it: a request whose worker ended without that may run elsewhere.
 * The first section is the Python runner's request, UTF-8 (runner.py).
 */
export interface RunMessage {
  readonly type: "run";
  readonly id: number;
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly graceMs: number;
  readonly memoryBytes: number;
  readonly fileBytes: number;
}
