import { BerthError, parseLossless } from "@berth/service-kit";
import { LIMITS_BY_KIND, type Limits, type PolicyKind } from "../limits.ts";
import type { EvaluationFacts, EvaluationOutcome } from "../outcome.ts";
import type { HostClient, PolicyContext, ResidentInput } from "../request.ts";
import type { Sandbox } from "../sandbox-types.ts";
import { deepMerge } from "./deep-merge.ts";
import { type GivenTexts, inputProblem } from "./input-problem.ts";
import type { PolicyContexts } from "./policy-contexts.ts";
import type { RunnablePolicy } from "./runnable-policy.ts";

/** One run of a policy. */
export interface PolicyRun {
  readonly orgId: string;
  readonly policy: RunnablePolicy;
  readonly kind: PolicyKind;
  readonly inputJson: string;
  /**
   * The documents of `input_data`; asked for just before the policy runs. The signal ends with the time for it. Absent
   * when the input is all in `inputJson`.
   */
  readonly resident?: (signal: AbortSignal) => Promise<ResidentInput>;
  /** Override the policy's stored defaults, object by object. */
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly settings: Readonly<Record<string, unknown>>;
  /** What the client calls the parameters and settings: the path down to them, "" or "search.". */
  readonly fieldPrefix: string;
  readonly clients: Readonly<Record<string, HostClient>>;
  /** Whether a returned result counts; see the sandbox's request. All do when absent. */
  readonly accept?: (resultJson: string) => boolean;
  readonly signal: AbortSignal;
}

/** The operator's caps on what one evaluation may use; they lower the limits of its kind. */
export type PolicyCaps = Pick<Limits, "wallMs" | "cpuMs" | "memoryMiB">;

/** What running policies needs. */
export interface PolicyRunDeps {
  readonly sandbox: Sandbox;
  readonly caps: PolicyCaps;
  readonly contexts: Pick<PolicyContexts, "get" | "set">;
}

/** How a run ended. `facts` are absent when the policy did not run. */
export type PolicyRunOutcome =
  | { readonly kind: "returned"; readonly resultJson: string; readonly facts: EvaluationFacts }
  | {
      readonly kind: "failed";
      readonly error: BerthError;
      readonly facts: EvaluationFacts | undefined;
    };

/**
 * Runs a policy. What went wrong is an error for the caller: POLICY_FAILED with file and line,
 * POLICY_TIMEOUT, OVERLOADED, UNAVAILABLE, INVALID_ARGUMENT, CANCELED.
 */
export async function runPolicy(run: PolicyRun, deps: PolicyRunDeps): Promise<PolicyRunOutcome> {
  const { orgId, policy } = run;
  const { uri, code, settingsJson, parametersJson } = policy;
  const settings = mergedJson(settingsJson, run.settings);
  const parameters = mergedJson(parametersJson, run.parameters);
  const outcome = await deps.sandbox.evaluate({
    tenant: `${orgId}/${policy.name}`,
    policyUri: uri,
    code,
    settingsJson: settings,
    parametersJson: parameters,
    inputJson: run.inputJson,
    ...(run.resident === undefined ? {} : { resident: run.resident }),
    context: contextOf(run, deps.contexts),
    ...(run.accept === undefined ? {} : { accept: run.accept }),
    clients: run.clients,
    limits: limitsOf(run.kind, deps.caps),
    signal: run.signal,
  });
  if (outcome.kind !== "returned") {
    const facts = "wallMs" in outcome ? outcome : undefined;
    const error =
      outcome.kind === "invalid_input"
        ? badInput(outcome.message, givenTexts(run, settings, parameters))
        : errorOf(outcome, uri);
    return { kind: "failed", error, facts };
  }
  return { kind: "returned", resultJson: outcome.resultJson, facts: outcome };
}

/** The context of the policy's version: one that was removed meanwhile has none, and leaves none to the next. */
function contextOf(
  { orgId, policy }: PolicyRun,
  contexts: Pick<PolicyContexts, "get" | "set">,
): PolicyContext {
  return {
    read: async () => (policy.isPublished() ? contexts.get(orgId, policy.uri) : "{}"),
    write: (json) => {
      if (policy.isPublished()) contexts.set(orgId, policy.uri, json);
    },
  };
}

function badInput(message: string, texts: GivenTexts): BerthError {
  return new BerthError("INVALID_ARGUMENT", inputProblem(message, texts));
}

function givenTexts(run: PolicyRun, settings: string, parameters: string): GivenTexts {
  const prefix = run.fieldPrefix;
  return {
    settings: { json: settings, field: `${prefix}settings`, addedLevels: 0 },
    parameters: { json: parameters, field: `${prefix}parameters`, addedLevels: 0 },
    input: { json: run.inputJson, field: "", addedLevels: 1 },
  };
}

/** What the error of a result that is not taken tells beside its message: what the policy printed. */
export function logDetails({ log }: EvaluationFacts): Readonly<Record<string, unknown>> {
  return log === "" ? {} : { log };
}

/** The limits of one evaluation: those of its kind, lowered by the operator's caps. */
export function limitsOf(kind: PolicyKind, caps: PolicyCaps): Limits {
  const limits = LIMITS_BY_KIND[kind];
  return {
    ...limits,
    wallMs: Math.min(limits.wallMs, caps.wallMs),
    cpuMs: Math.min(limits.cpuMs, caps.cpuMs),
    memoryMiB: Math.min(limits.memoryMiB, caps.memoryMiB),
  };
}

function mergedJson(defaultsJson: string, overrides: Readonly<Record<string, unknown>>): string {
  if (Object.keys(overrides).length === 0) return defaultsJson;
  const defaults = parseLossless(defaultsJson) as Record<string, unknown>;
  return JSON.stringify(deepMerge(defaults, overrides));
}

function errorOf(
  outcome: Exclude<EvaluationOutcome, { kind: "returned" | "invalid_input" }>,
  uri: string,
): BerthError {
  switch (outcome.kind) {
    case "raised": {
      const { type, message, file, line, traceback } = outcome.error;
      const where = file === null ? "" : ` (${file}:${line})`;
      const text = `policy ${uri} raised ${type}: ${message}${where}`;
      const policy_error = { type, message, file, line, traceback };
      return new BerthError("POLICY_FAILED", text, { details: { policy_error, log: outcome.log } });
    }
    case "timed_out": {
      const text = `policy ${uri} took longer than its ${outcome.limit} limit of ${outcome.limitMs} ms`;
      return new BerthError("POLICY_TIMEOUT", text, { details: { log: outcome.log } });
    }
    case "crashed": {
      if (outcome.cause === "spawn") {
        return new BerthError("UNAVAILABLE", `policy ${uri} was not run: ${outcome.message}`);
      }
      const text = `policy ${uri} crashed its sandbox (${outcome.cause}): ${outcome.message}`;
      return new BerthError("POLICY_FAILED", text);
    }
    case "invalid_result": {
      const text = `policy ${uri} returned an invalid result: ${outcome.path}: ${outcome.message}`;
      return new BerthError("POLICY_FAILED", text, { details: { log: outcome.log } });
    }
    case "overloaded":
      return new BerthError("OVERLOADED", outcome.message);
    case "canceled":
      return new BerthError("CANCELED", "the request was canceled");
  }
}
