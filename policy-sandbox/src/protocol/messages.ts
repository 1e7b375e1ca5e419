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

/** Host to worker: run one request. */
export interface RunMessage {
  readonly type: "run";
  readonly id: number;
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly graceMs: number;
  readonly memoryBytes: number;
  readonly fileBytes: number;
  /** The Python runner's JSON header; its parts are the frame's sections. */
  readonly request: string;
}
