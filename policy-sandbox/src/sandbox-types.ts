import type { Limits } from "./limits.ts";
import type { CheckOutcome, EvaluationOutcome, UnpackOutcome } from "./outcome.ts";
import type { PolicyCode } from "./policy.ts";
import type { EvaluationRequest, ResidentInput } from "./request.ts";

/** What a worker process is doing. */
export type WorkerState = "starting" | "idle" | "running" | "stopping";

/** One worker process. */
export interface WorkerStats {
  readonly pid: number;
  /** Null for the spare, which has seen no policy. */
  readonly tenant: string | null;
  readonly state: WorkerState;
  /** Resident memory at the time of the question; absent where the platform does not tell. */
  readonly rssMiB?: number;
  /** Evaluations that it finished. */
  readonly evaluations: number;
}

/** The memory image that workers start from. */
export type SnapshotState = "absent" | "building" | "ready" | "failed";

/** A look at the pool. */
export interface SandboxStats {
  readonly workers: readonly WorkerStats[];
  readonly running: number;
  /** Those of the running that have gone on for so long that they have made room for others. */
  readonly slow: number;
  readonly queued: number;
  readonly snapshot: SnapshotState;
}

/** What happened in the pool, for the caller's log. */
export type SandboxEvent =
  | { readonly kind: "snapshot_built"; readonly elapsedMs: number; readonly sizeBytes: number }
  | { readonly kind: "snapshot_failed"; readonly message: string }
  | { readonly kind: "worker_started"; readonly pid: number; readonly startMs: number }
  | { readonly kind: "worker_failed_to_start"; readonly message: string }
  | {
      readonly kind: "worker_killed";
      readonly pid: number;
      readonly tenant: string | null;
      readonly reason: string;
    };

/** Where the sandbox keeps its snapshot and how much it may use. */
export interface SandboxOptions {
  /** A folder of the caller's; created when missing. Holds the snapshot and nothing secret. */
  readonly stateDir: string;
  /** Called synchronously; must not throw. */
  readonly onEvent?: (event: SandboxEvent) => void;
  /** Live workers besides the spare. Default: the lesser of 16 and a quarter of RAM / 256 MiB. */
  readonly maxWorkers?: number;
  /**
   * Quick evaluations at once; one policy takes at most all but one. Default: cores, at least 2. What goes on for longer
   * than 200 ms counts no more, but against a bound of its own: four a core, and three quarters of the workers (ADR 13).
   */
  readonly maxRunning?: number;
  /**
   * Evaluations that wait, over all tenants. Default 1,000. What comes on top makes the newest of the tenant with
   * the longest queue `overloaded`, so that one tenant's backlog refuses nobody else.
   */
  readonly maxQueued?: number;
  /** JSON text of resident documents that one worker keeps, in MiB. Default 64. */
  readonly maxResidentMiB?: number;
  /**
   * Share (0 to 1) of the evaluations of trusted code after which the resident documents are compared with
   * their source, in the long run; for code that is new it is many times larger (input-trust.ts). Default 1/256.
   */
  readonly inputCheckShare?: number;
}

/** A resident document that is to be left out. */
export interface UnfitResident {
  readonly id: string;
  /** Why, without the id: "needs 20000000 bytes, at most 16777216 are allowed for one document". */
  readonly message: string;
}

/** Runs policies in sealed child processes. Nothing here throws for what a policy does. */
export interface Sandbox {
  /** Resolves when the snapshot is there and the spare is warm; rejects when neither can be had. */
  ready(): Promise<void>;
  /** Rejects only with what a function of the caller's (`resident`, `context.read`) rejects with. */
  evaluate(request: EvaluationRequest): Promise<EvaluationOutcome>;
  /**
   * The documents that would make `evaluate` refuse the whole request as `invalid_input`, or fill the workers at the
   * cost of all others: to be asked with what goes into `resident`, and left out. Empty when all of them fit.
   * Cheap when asked again: what is found out about a part is kept with the part object.
   */
  unfitResidents(resident: ResidentInput, limits: Limits): readonly UnfitResident[];
  /** Looks at the code without running it. Callers take turns: code of one that takes long delays no other's. */
  check(code: PolicyCode, caller?: string): Promise<CheckOutcome>;
  /** Reads a policy archive (tar in any compression, or zip) inside a sealed worker. Callers take turns. */
  unpack(archive: Uint8Array, caller?: string): Promise<UnpackOutcome>;
  stats(): SandboxStats;
  /** Kills every worker; queued and running evaluations end as `canceled`. */
  close(): Promise<void>;
}
