import type { GuardStep } from "../guards/guard-steps.ts";

/** What an evaluation decided about one subject. JSON as stored, and as clients read it. */
export interface SubjectDecision {
  readonly subject_id: string;
  /** Null when the subject has none, or several. */
  readonly quota_id: string | null;
  /**
   * `keep`: nothing was asked for. `change`: a request was made. `needs_approval`: one was made that waits for a human. `shadow`: what
   * would have been asked for. `refused`: what the workflow or the guards wanted cannot be asked for.
   */
  readonly kind: "keep" | "change" | "needs_approval" | "shadow" | "refused";
  /** Replicas that were desired. */
  readonly current: number | null;
  /** What the workflow wanted; null when it did not name the subject. */
  readonly wanted: number | null;
  /** What was asked for, or stays. */
  readonly replicas: number | null;
  /** One sentence with the numbers. */
  readonly why: string;
  /** What the workflow said of it; absent when it said nothing. */
  readonly workflow_reason?: string;
  /** Each rule that changed or stopped something, in their order. */
  readonly steps?: readonly GuardStep[];
  /** The request that was made. */
  readonly uuid?: string;
}

/** How an evaluation ended. */
export type EvaluationState =
  /** The workflow ran, and its result was read. */
  | "done"
  /** Its checker decided that nothing is to be decided. */
  | "skipped"
  /** Nothing was run: no workflow, or the fleet is not whole yet. */
  | "held"
  | "failed";

/** One pass of the autoscaler over all subjects. JSON as stored, and as clients read it. */
export interface EvaluationSummary {
  /** UUIDv7. */
  readonly evaluation_id: string;
  /** ISO 8601. */
  readonly started_at: string;
  readonly took_ms: number;
  readonly trigger: "timer" | "request";
  /** Whether nothing was to be asked for. */
  readonly shadow: boolean;
  readonly state: EvaluationState;
  /** Why it is not done; what was done otherwise. */
  readonly reason: string;
  readonly workflow_id: string | null;
  readonly workflow_revision: number | null;
  readonly config_version: number;
  readonly rules_version: number;
  readonly report_age_ms: number | null;
  /** Of each module: time, attempts, and why it was skipped. */
  readonly modules: readonly unknown[];
  /** Subjects by kind of decision. */
  readonly decisions: Readonly<Record<SubjectDecision["kind"], number>>;
}

/** An evaluation with what it decided about each subject. */
export interface Evaluation {
  readonly summary: EvaluationSummary;
  readonly decisions: readonly SubjectDecision[];
}

/** How many decisions there are of each kind. */
export function decisionCounts(
  decisions: readonly SubjectDecision[],
): EvaluationSummary["decisions"] {
  const counts = { keep: 0, change: 0, needs_approval: 0, shadow: 0, refused: 0 };
  for (const { kind } of decisions) counts[kind] += 1;
  return counts;
}
