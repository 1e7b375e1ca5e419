import { BerthError, type Principal, parseLossless } from "@berth/service-kit";
import type { FleetSnapshot } from "../fleet/cluster-view.ts";
import type { PolicyRegistry } from "../policies/policy-registry.ts";
import { parseAllocationRequest } from "./allocation-request.ts";
import { chooseCandidates } from "./choose-candidates.ts";
import { hostClients } from "./host-clients.ts";
import { checkPlacement } from "./placement.ts";
import { policyInputJson } from "./policy-input.ts";
import { type PolicyRunDeps, runPolicy } from "./run-policy.ts";

/** A successful answer: the placement, or why there is none; `warnings` name ids that are unknown. */
export interface AllocationReply {
  readonly success: true;
  /** `{cluster_id, node_id?, gpus?}` with the policy's extra keys, or a list of them. */
  readonly data: unknown;
  readonly warnings?: readonly string[];
}

/** What {@link Allocator} needs. */
export interface AllocatorDeps extends PolicyRunDeps {
  readonly clusters: { snapshot(orgId: string): Promise<FleetSnapshot> };
  readonly policies: Pick<PolicyRegistry, "runnable">;
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
    const scope = { orgId: principal.orgId, snapshot, signal };
    const { candidates, warnings } = await chooseCandidates(request.selection, scope, this.#deps);
    const resultJson = await runPolicy(
      {
        orgId: principal.orgId,
        policy,
        kind: "allocator",
        inputJson: policyInputJson(candidates, request.inputsJson),
        parameters: request.parameters,
        settings: request.settings,
        clients: hostClients(snapshot),
        signal,
      },
      this.#deps,
    );
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
}
