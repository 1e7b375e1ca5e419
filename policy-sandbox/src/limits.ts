/** What one evaluation may use. Every field is a cap; passing one ends in an outcome, never in a hang. */
export interface Limits {
  /** Wall clock of loading plus evaluating, host calls included, queueing excluded. */
  readonly wallMs: number;
  /** CPU time of the interpreter's thread; time spent waiting for host calls does not count. */
  readonly cpuMs: number;
  /** The interpreter's heap (WebAssembly memory); passing it is a `MemoryError` in the policy. */
  readonly memoryMiB: number;
  /** Resident memory of the whole worker process; passing it kills the worker. */
  readonly rssMiB: number;
  /** Capacity of the in-memory file system; passing it is an `OSError` in the policy. */
  readonly memfsMiB: number;
  /** UTF-8 bytes of each JSON text that goes in. */
  readonly inputBytes: number;
  /** Nesting of each JSON text that goes in; deeper texts would kill the interpreter. */
  readonly inputDepth: number;
  /** UTF-8 bytes of the result's JSON text. */
  readonly outputBytes: number;
  /** Nesting of the result and of the context. */
  readonly resultDepth: number;
  /** UTF-8 bytes of the context's JSON text. */
  readonly contextBytes: number;
  /** UTF-8 bytes of captured stdout, stderr and logging; what follows is dropped and flagged. */
  readonly logBytes: number;
  /** Calls of host clients in one evaluation; more raise, and 64 more end the worker. */
  readonly hostCalls: number;
  /** Deadline of each host call. */
  readonly hostCallMs: number;
  /** UTF-8 bytes of each host call's reply. */
  readonly hostReplyBytes: number;
}

/** What a policy decides; each kind has limits of its own (architecture §4.4). */
export type PolicyKind =
  | "allocator"
  | "ranking"
  | "workflow"
  | "resource_allocator"
  | "precheck"
  | "event"
  | "stability";

/** How long after the wall deadline a worker that ignores the interrupt is killed. */
export const HARD_KILL_AFTER_MS = 1_000;

const MIB = 1024 * 1024;

/** The limits of the longest kinds. */
export const DEFAULT_LIMITS: Limits = {
  wallMs: 30_000,
  cpuMs: 20_000,
  memoryMiB: 256,
  rssMiB: 512,
  memfsMiB: 16,
  inputBytes: 32 * MIB,
  inputDepth: 64,
  outputBytes: MIB,
  resultDepth: 64,
  contextBytes: 256 * 1024,
  logBytes: 64 * 1024,
  hostCalls: 64,
  hostCallMs: 5_000,
  hostReplyBytes: 4 * MIB,
};

const SHORT: Limits = { ...DEFAULT_LIMITS, wallMs: 5_000, cpuMs: 2_000 };

/** The default limits by kind of policy (architecture §4.4, "Limits by kind"). */
export const LIMITS_BY_KIND: Readonly<Record<PolicyKind, Limits>> = {
  allocator: DEFAULT_LIMITS,
  ranking: DEFAULT_LIMITS,
  workflow: DEFAULT_LIMITS,
  resource_allocator: { ...DEFAULT_LIMITS, wallMs: 10_000, cpuMs: 5_000 },
  // It answers with its whole input, the cluster of thousands of nodes among it.
  precheck: { ...SHORT, outputBytes: 16 * MIB },
  event: SHORT,
  stability: SHORT,
};
