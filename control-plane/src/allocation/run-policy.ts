import {
  type EvaluationOutcome,
  type HostClient,
  LIMITS_BY_KIND,
  type PolicyKind,
  type Sandbox,
} from "@berth/policy-sandbox";
import { BerthError, type Logger, parseLossless } from "@berth/service-kit";
import type { PolicyContexts } from "../policies/policy-contexts.ts";
import type { RunnablePolicy } from "../policies/policy-registry.ts";
import { deepMerge } from "./policy-input.ts";

/** One run of a policy. */
export interface PolicyRun {
  readonly orgId: string;
  readonly policy: RunnablePolicy;
  readonly kind: PolicyKind;
  readonly inputJson: string;
  /** Override the policy's stored defaults, object by object. */
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly clients: Readonly<Record<string, HostClient>>;
  readonly signal: AbortSignal;
}

/** What running policies needs. */
export interface PolicyRunDeps {
  readonly sandbox: Sandbox;
  readonly contexts: Pick<PolicyContexts, "get" | "set">;
  readonly logger: Logger;
}

/**
 * Runs a policy and gives its result as JSON text. Throws what the caller is to be told: POLICY_FAILED
 * with file and line, POLICY_TIMEOUT, OVERLOADED, UNAVAILABLE, INVALID_ARGUMENT, CANCELED.
 */
export async function runPolicy(run: PolicyRun, deps: PolicyRunDeps): Promise<string> {
  const { record, code, settingsJson, parametersJson } = run.policy;
  const uri = record.policy_rule_uri;
  const outcome = await deps.sandbox.evaluate({
    tenant: `${run.orgId}/${record.name}`,
    policyUri: uri,
    code,
    settingsJson: mergedJson(settingsJson, run.settings),
    parametersJson: mergedJson(parametersJson, run.parameters),
    inputJson: run.inputJson,
    contextJson: await deps.contexts.get(run.orgId, uri),
    clients: run.clients,
    limits: LIMITS_BY_KIND[run.kind],
    signal: run.signal,
  });
  deps.logger.debug("policy evaluated", {
    policy: uri,
    outcome: outcome.kind,
    ...("wallMs" in outcome ? { wall_ms: outcome.wallMs, queued_ms: outcome.queuedMs } : {}),
  });
  if (outcome.kind === "returned" && outcome.contextJson !== null) {
    await deps.contexts.set(run.orgId, uri, outcome.contextJson);
  }
  return resultOrThrow(outcome, uri);
}

function mergedJson(defaultsJson: string, overrides: Readonly<Record<string, unknown>>): string {
  if (Object.keys(overrides).length === 0) return defaultsJson;
  const defaults = parseLossless(defaultsJson) as Record<string, unknown>;
  return JSON.stringify(deepMerge(defaults, overrides));
}

function resultOrThrow(outcome: EvaluationOutcome, uri: string): string {
  switch (outcome.kind) {
    case "returned":
      return outcome.resultJson;
    case "raised": {
      const { type, message, file, line, traceback } = outcome.error;
      const where = file === null ? "" : ` (${file}:${line})`;
      const text = `policy ${uri} raised ${type}: ${message}${where}`;
      const policy_error = { type, message, file, line, traceback };
      throw new BerthError("POLICY_FAILED", text, { details: { policy_error, log: outcome.log } });
    }
    case "timed_out": {
      const text = `policy ${uri} took longer than its ${outcome.limit} limit of ${outcome.limitMs} ms`;
      throw new BerthError("POLICY_TIMEOUT", text, { details: { log: outcome.log } });
    }
    case "crashed": {
      const text = `policy ${uri} crashed its sandbox (${outcome.cause}): ${outcome.message}`;
      throw new BerthError(outcome.cause === "spawn" ? "UNAVAILABLE" : "POLICY_FAILED", text);
    }
    case "invalid_result": {
      const text = `policy ${uri} returned an invalid result: ${outcome.path}: ${outcome.message}`;
      throw new BerthError("POLICY_FAILED", text, { details: { log: outcome.log } });
    }
    case "invalid_input":
      throw new BerthError("INVALID_ARGUMENT", outcome.message);
    case "overloaded":
      throw new BerthError("OVERLOADED", outcome.message);
    case "canceled":
      throw new BerthError("CANCELED", "the request was canceled");
  }
}
