import {
  type EvaluationOutcome,
  LIMITS_BY_KIND,
  type PolicyCode,
  type Sandbox,
} from "@berth/policy-sandbox";
import { BerthError, type Logger, type Principal, parseLossless } from "@berth/service-kit";
import type { ClusterView, FleetSnapshot } from "../fleet/cluster-view.ts";
import type { PolicyRegistry, RunnablePolicy } from "../policies/policy-registry.ts";
import { type AllocationRequest, parseAllocationRequest } from "./allocation-request.ts";
import { hostClients } from "./host-clients.ts";
import { checkPlacement } from "./placement.ts";
import { deepMerge, policyInputJson } from "./policy-input.ts";

/** A successful answer: the placement, or why there is none; `warnings` name ids that are unknown. */
export interface AllocationReply {
  readonly success: true;
  /** `{cluster_id, node_id?, gpus?}` with the policy's extra keys, or a list of them. */
  readonly data: unknown;
  readonly warnings?: readonly string[];
}

/** What {@link Allocator} needs. */
export interface AllocatorDeps {
  readonly clusters: { snapshot(orgId: string): Promise<FleetSnapshot> };
  readonly policies: Pick<PolicyRegistry, "runnable">;
  readonly sandbox: Sandbox;
  readonly logger: Logger;
}

/** Answers allocation requests: candidates, policy, check of the result. */
export class Allocator {
  readonly #deps: AllocatorDeps;

  constructor(deps: AllocatorDeps) {
    this.#deps = deps;
  }

  /**
   * Answers one request, given as the text that the client sent. Throws a BerthError: INVALID_ARGUMENT
   * names a bad field, NOT_FOUND an unknown policy, POLICY_FAILED what the policy did wrong (with file
   * and line), POLICY_TIMEOUT, OVERLOADED, CANCELED when the signal was aborted.
   */
  async allocate(
    principal: Principal,
    text: string,
    signal: AbortSignal,
  ): Promise<AllocationReply> {
    const request = parseAllocationRequest(text);
    const policy = await this.#deps.policies.runnable(principal.orgId, request.policyRuleUri);
    const snapshot = await this.#deps.clusters.snapshot(principal.orgId);
    const { candidates, warnings } = chooseCandidates(request, snapshot);
    const outcome = await this.#evaluate({
      principal,
      request,
      policy,
      snapshot,
      candidates,
      signal,
    });
    const resultJson = resultOrThrow(outcome, policy.record.policy_rule_uri);
    const check = checkPlacement(parseLossless(resultJson), {
      candidates: new Map(candidates.map((view) => [view.id, view])),
      requestCount: request.requestCount,
    });
    if (check.kind === "invalid") {
      const message = `policy ${policy.record.policy_rule_uri} returned an invalid placement: ${check.message}`;
      throw new BerthError("POLICY_FAILED", message);
    }
    return { success: true, data: check.data, ...(warnings.length > 0 ? { warnings } : {}) };
  }

  async #evaluate(run: {
    readonly principal: Principal;
    readonly request: AllocationRequest;
    readonly policy: RunnablePolicy;
    readonly snapshot: FleetSnapshot;
    readonly candidates: readonly ClusterView[];
    readonly signal: AbortSignal;
  }): Promise<EvaluationOutcome> {
    const { request, policy } = run;
    const { record } = policy;
    const code: PolicyCode = policy.code;
    const outcome = await this.#deps.sandbox.evaluate({
      tenant: `${run.principal.orgId}/${record.name}`,
      policyUri: record.policy_rule_uri,
      code,
      settingsJson: mergedJson(policy.settingsJson, request.settings),
      parametersJson: mergedJson(policy.parametersJson, request.parameters),
      inputJson: policyInputJson(run.candidates, request.inputsJson),
      clients: hostClients(run.snapshot),
      limits: LIMITS_BY_KIND.allocator,
      signal: run.signal,
    });
    this.#deps.logger.debug("policy evaluated", {
      policy: record.policy_rule_uri,
      outcome: outcome.kind,
      candidates: run.candidates.length,
      ...("wallMs" in outcome ? { wall_ms: outcome.wallMs, queued_ms: outcome.queuedMs } : {}),
    });
    return outcome;
  }
}

/** Clusters named by the client, or every one that may be alive; unknown names become warnings. */
function chooseCandidates(
  request: AllocationRequest,
  snapshot: FleetSnapshot,
): { readonly candidates: readonly ClusterView[]; readonly warnings: readonly string[] } {
  if (request.clusters.length === 0) {
    const alive = [...snapshot.values()].filter((view) => view.health !== "unreachable");
    return { candidates: alive, warnings: [] };
  }
  const candidates: ClusterView[] = [];
  const warnings: string[] = [];
  for (const id of request.clusters) {
    const view = snapshot.get(id);
    if (view === undefined) warnings.push(`clusters: there is no cluster ${id}`);
    else if (view.health === "unreachable") warnings.push(`clusters: cluster ${id} is unreachable`);
    else candidates.push(view);
  }
  return { candidates, warnings };
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
