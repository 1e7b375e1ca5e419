import type { SandboxEvent, SandboxStats } from "@berth/policy-sandbox";
import type { Logger } from "@berth/service-kit";

/** The policy sandbox as `/readyz` shows it. */
export interface SandboxReadiness {
  readonly snapshot: SandboxStats["snapshot"];
  /** Why there is no snapshot, also while it is built once more; absent unless a build has failed. */
  readonly failure?: string;
  /** Live workers. */
  readonly workers: number;
  readonly running: number;
  /** Those of the running that have gone on for so long that they have made room for others. */
  readonly slow: number;
  readonly queued: number;
}

/** Logs what happens in the sandbox, and remembers why its snapshot could not be built. */
export class SandboxHealth {
  readonly #logger: Logger;
  #failure: string | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Takes one event of the sandbox. */
  onEvent({ kind, ...fields }: SandboxEvent): void {
    const bad = kind === "snapshot_failed" || kind === "worker_failed_to_start";
    this.#logger[bad ? "error" : "info"](`sandbox: ${kind}`, fields);
    if (kind === "snapshot_built") this.#failure = undefined;
    if (kind === "snapshot_failed" && "message" in fields) this.#failure = fields.message;
  }

  /** How the sandbox stands. */
  readiness({ snapshot, workers, running, slow, queued }: SandboxStats): SandboxReadiness {
    const failure = snapshot === "ready" ? undefined : this.#failure;
    return {
      snapshot,
      ...(failure === undefined ? {} : { failure }),
      workers: workers.length,
      running,
      slow,
      queued,
    };
  }
}
