import { logDetails } from "@berth/policy-sandbox";
import { BerthError } from "@berth/service-kit";
import type { BlockRecord } from "../blocks/block-records.ts";
import { type RequestedPolicy, requestedPolicy } from "../blocks/entry-reading.ts";
import type { Cluster } from "../cluster/cluster.ts";
import type { Claim } from "../ledger/claim.ts";
import { isOpenNode, type NodeView } from "../nodes/node-view.ts";
import type { AgentPolicies } from "../policies/agent-policies.ts";
import { readAllocatorAnswer, readDryRunAnswer } from "./allocator-answer.ts";
import { type AllocatorAction, type AllocatorFacts, allocatorInput } from "./allocator-input.ts";
import type { Placement } from "./best-fit.ts";
import type { PlaceRequest, Placer } from "./placer.ts";

/** An instance that needs a place, and why. */
export interface ChooseRequest extends PlaceRequest {
  readonly action: Exclude<AllocatorAction, "dry_run">;
  /** The instance that is moved. */
  readonly instance?: AllocatorFacts["instance"];
  readonly extraData?: unknown;
  readonly signal: AbortSignal;
}

/** What {@link ResourceAllocator} decides with. */
export interface ResourceAllocatorDeps {
  readonly placer: Placer;
  readonly policies: Pick<AgentPolicies, "run">;
  readonly cluster: Pick<Cluster, "document" | "metrics">;
  readonly nodes: { views(): readonly NodeView[] };
}

/** Chooses places: by the block's own `resourceAllocator` policy, or by best fit for a block without. Takes nothing. */
export class ResourceAllocator {
  readonly #deps: ResourceAllocatorDeps;

  constructor(deps: ResourceAllocatorDeps) {
    this.#deps = deps;
  }

  /** Where an instance goes, or why nowhere. Rejects with what the policy failed with. */
  async choose(request: ChooseRequest): Promise<Placement> {
    const { block, action, besides, excluded, group, instance, extraData, signal } = request;
    const policy = requestedPolicy(block.entry, "resourceAllocator");
    if (policy === undefined) return this.#deps.placer.place(request);
    const { placer } = this.#deps;
    const chosen = [...besides, ...placer.pending.others(group)];
    const takenGpus = new Set([...excluded, ...chosen.flatMap(gpusOf)]);
    const asked = { action, block, takenGpus, instance, extraData };
    const { resultJson, log } = await this.#run(policy, asked, signal);
    const answer = readAllocatorAnswer(policy.policyRuleUri, resultJson);
    if (answer.kind === "unschedulable") return answer;
    const { nodeId, gpuIds, gpusField } = answer;
    try {
      const field = `the result of policy ${policy.policyRuleUri}`;
      // How many GPUs an instance gets is the policy's word, as in the existing deployment.
      const given = { nodeId, gpuIds, field, gpusField };
      const claim = placer.claimOf(block, given);
      group?.claims.push(claim);
      return { kind: "placed", claim };
    } catch (thrown) {
      if (!(thrown instanceof BerthError)) throw thrown;
      throw new BerthError("POLICY_FAILED", thrown.message, { cause: thrown, details: log });
    }
  }

  /** A dry run by a policy: its result as it is, with numbers as the policy wrote them. */
  async dryRun(policy: RequestedPolicy, block: BlockRecord, signal: AbortSignal): Promise<unknown> {
    const asked = {
      action: "dry_run" as const,
      block,
      takenGpus: new Set<string>(),
      extraData: {},
    };
    const { resultJson } = await this.#run(policy, asked, signal);
    return readDryRunAnswer(policy.policyRuleUri, resultJson);
  }

  async #run(
    { policyRuleUri: uri, parameters, settings }: RequestedPolicy,
    asked: Pick<AllocatorFacts, "action" | "block" | "takenGpus" | "instance" | "extraData">,
    signal: AbortSignal,
  ) {
    const { cluster, nodes, policies } = this.#deps;
    const open = nodes.views().filter(isOpenNode);
    const metrics = cluster.metrics();
    const inputJson = allocatorInput({
      ...asked,
      ...{ cluster: cluster.document(), metrics, healthyNodes: open.map(({ id }) => id) },
    });
    const getMetrics = () => ({ kind: "value" as const, json: JSON.stringify(metrics) });
    const outcome = await policies.run({
      ...{ uri, kind: "resource_allocator", inputJson, parameters, settings, signal },
      clients: { get_metrics: { callable: getMetrics, methods: {} } },
    });
    if (outcome.kind === "failed") throw outcome.error;
    return { resultJson: outcome.resultJson, log: logDetails(outcome.facts) };
  }
}

function gpusOf({ devices }: Claim): readonly string[] {
  return devices.map(({ uuid }) => uuid);
}
