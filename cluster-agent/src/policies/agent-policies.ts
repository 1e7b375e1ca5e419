import {
  type HostClient,
  type PolicyKind,
  type PolicyRunDeps,
  type PolicyRunOutcome,
  runPolicy,
} from "@berth/policy-sandbox";
import type { PolicySource } from "./policy-source.ts";

/** One run of a policy of this cluster. */
export interface AgentPolicyRun {
  readonly uri: string;
  readonly kind: PolicyKind;
  /** JSON text with numbers as they were written. */
  readonly inputJson: string;
  /** Override the policy's defaults, object by object. */
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly clients?: Readonly<Record<string, HostClient>>;
  readonly signal: AbortSignal;
}

/** What {@link AgentPolicies} runs policies with. */
export interface AgentPoliciesDeps extends PolicyRunDeps {
  readonly orgId: string;
  readonly source: PolicySource;
}

/** Runs published policies for the decisions that are made on the cluster. */
export class AgentPolicies {
  readonly #deps: AgentPoliciesDeps;

  constructor(deps: AgentPoliciesDeps) {
    this.#deps = deps;
  }

  /** Runs a policy. Rejects with NOT_FOUND or UNAVAILABLE when there is none to run; else see `runPolicy`. */
  async run(run: AgentPolicyRun): Promise<PolicyRunOutcome> {
    const { uri, clients = {}, ...rest } = run;
    const { orgId, source } = this.#deps;
    const policy = await source.runnable(uri);
    return runPolicy({ ...rest, orgId, policy, clients, fieldPrefix: "" }, this.#deps);
  }
}
