export {
  DEFAULT_LIMITS,
  HARD_KILL_AFTER_MS,
  LIMITS_BY_KIND,
  type Limits,
  type PolicyKind,
} from "./limits.ts";
export type {
  CheckOutcome,
  CrashCause,
  EvaluationFacts,
  EvaluationOutcome,
  PolicyError,
  PolicyProblem,
  UnpackOutcome,
  UnresolvedImport,
} from "./outcome.ts";
export { digestFiles, POLICY_ENTRY_FILE, type PolicyCode, pythonPolicy } from "./policy.ts";
export type {
  EvaluationRequest,
  HostClient,
  HostMethod,
  HostReply,
  PolicyCall,
  PolicyContext,
  ResidentDocument,
  ResidentInput,
  ResidentPart,
} from "./request.ts";
export { LruCache } from "./run/lru-cache.ts";
export { PolicyContexts } from "./run/policy-contexts.ts";
export {
  limitsOf,
  logDetails,
  type PolicyCaps,
  type PolicyRun,
  type PolicyRunDeps,
  type PolicyRunOutcome,
  runPolicy,
} from "./run/run-policy.ts";
export type { PolicyDefaults, RunnablePolicy } from "./run/runnable-policy.ts";
export { createSandbox } from "./sandbox.ts";
export type {
  Sandbox,
  SandboxEvent,
  SandboxOptions,
  SandboxStats,
  SnapshotState,
  UnfitResident,
  WorkerState,
  WorkerStats,
} from "./sandbox-types.ts";
