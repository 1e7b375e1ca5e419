import type { HostClient } from "@berth/policy-sandbox";
import { BerthError, toBerthError } from "@berth/service-kit";
import type { Body } from "./workflow-body.ts";
import type { ModuleCode, WorkflowModule } from "./workflow-module.ts";

/** One attempt at one module. */
export interface ModuleCall {
  readonly workflowId: string;
  /** Key of the module. */
  readonly module: string;
  readonly code: ModuleCode;
  readonly settings: Body;
  readonly parameters: Body;
  readonly inputJson: string;
  /** What the module finds in its settings and can call. */
  readonly clients: Readonly<Record<string, HostClient>>;
  /** What policies keep is not the live one's: the run leaves no trace in it. */
  readonly trial?: TrialContexts | undefined;
  /** How long the module may run, in ms; waiting for a place to run in does not count. */
  readonly timeoutMs: number;
  /** Ends the attempt: the workflow is given up, or the module has not answered in time. */
  readonly signal: AbortSignal;
}

/** What policies keep in runs that are only tried. */
export interface TrialContexts {
  /** JSON by the URI of the policy. */
  readonly kept: Map<string, string>;
  /** What is not kept yet begins empty; else with what the live policy keeps. */
  readonly isFresh: boolean;
}

/** What came of one attempt. */
export type ModuleOutcome =
  | { readonly kind: "returned"; readonly resultJson: string }
  | {
      readonly kind: "failed";
      readonly error: BerthError;
      /** Whether another attempt may end otherwise. */
      readonly canPass: boolean;
    };

/** Runs one attempt at a module. What it throws counts as a failure that cannot pass. */
export type RunModule = (call: ModuleCall) => Promise<ModuleOutcome>;

/** What {@link runAttempts} needs. */
export interface AttemptDeps {
  readonly runModule: RunModule;
  /** A signal that fires after so many ms. */
  readonly deadline: (ms: number) => AbortSignal;
  /** Waits so many ms, or until the signal fires. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** What came of a module with all its attempts. */
export type AttemptsOutcome = { readonly attempts: number } & (
  | { readonly kind: "returned"; readonly resultJson: string; readonly fellBack: boolean }
  | { readonly kind: "failed"; readonly error: BerthError }
);

/** How much longer than its time a module may take to answer: it may wait for a place, and is stopped gently. */
export const ANSWER_GRACE_MS = 5_000;
/** Pause before the second attempt, in ms; twice as long before each further one. */
const FIRST_PAUSE_MS = 200;

/**
 * Runs a module: again, as often as it says, while its failure can pass; then its fallback counts as its output. A run
 * that is given up ends at once with CANCELED, whatever the fallback. Never rejects.
 */
export async function runAttempts(
  module: Pick<WorkflowModule, "retries" | "timeoutMs" | "fallback">,
  call: Omit<ModuleCall, "timeoutMs">,
  deps: AttemptDeps,
): Promise<AttemptsOutcome> {
  const { retries, timeoutMs, fallback } = module;
  for (let attempts = 1; ; attempts += 1) {
    const outcome = await attempt({ ...call, timeoutMs }, deps);
    if (outcome.kind === "returned") return { ...outcome, attempts, fellBack: false };
    if (call.signal.aborted) return { kind: "failed", error: canceled(), attempts };
    if (outcome.canPass && attempts <= retries) {
      await deps.pause(FIRST_PAUSE_MS * 2 ** (attempts - 1), call.signal);
      if (!call.signal.aborted) continue;
      return { kind: "failed", error: canceled(), attempts };
    }
    if (fallback === undefined) return { kind: "failed", error: outcome.error, attempts };
    const resultJson = JSON.stringify(fallback);
    return { kind: "returned", resultJson, attempts, fellBack: true };
  }
}

/** The error of a run that its caller has given up. */
export function canceled(): BerthError {
  return new BerthError("CANCELED", "the workflow was canceled");
}

/** Does not wait for what does not heed its signal. */
async function attempt(call: ModuleCall, deps: AttemptDeps): Promise<ModuleOutcome> {
  const late = deps.deadline(call.timeoutMs + ANSWER_GRACE_MS);
  const signal = AbortSignal.any([call.signal, late]);
  if (signal.aborted) return failureAt(call);
  const ended = Promise.withResolvers<ModuleOutcome>();
  const onAbort = (): void => ended.resolve(failureAt(call));
  signal.addEventListener("abort", onAbort, { once: true });
  const answered = outcomeOf({ ...call, signal }, deps);
  try {
    const outcome = await Promise.race([answered, ended.promise]);
    return outcome.kind === "failed" && signal.aborted ? failureAt(call) : outcome;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

async function outcomeOf(call: ModuleCall, { runModule }: AttemptDeps): Promise<ModuleOutcome> {
  try {
    return await runModule(call);
  } catch (thrown) {
    return { kind: "failed", error: toBerthError(thrown), canPass: false };
  }
}

function failureAt({ signal, module, timeoutMs }: ModuleCall): ModuleOutcome {
  if (signal.aborted) return { kind: "failed", error: canceled(), canPass: false };
  const message = `module ${module} did not answer within its ${timeoutMs} ms`;
  return { kind: "failed", error: new BerthError("POLICY_TIMEOUT", message), canPass: true };
}
