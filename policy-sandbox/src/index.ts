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
