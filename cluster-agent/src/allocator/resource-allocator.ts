import { logDetails } from "@berth/policy-sandbox";
import { BerthError } from "@berth/service-kit";
import type { BlockRecord } from "../blocks/block-records.ts";
import { type RequestedPolicy, requestedPolicy } from "../blocks/entry-reading.ts";
import type { Cluster } from "../cluster/cluster.ts";
import type { Claim } from "../ledger/claim.ts";
import { isOpenNode, type NodeView } from "../nodes/node-view.ts";
import type { AgentPolicies } from "../policies/agent-policies.ts";
import {
  type AllocatorAnswer,
  readAllocatorAnswer,
  readDryRunAnswer,
  unplaced,
} from "./allocator-answer.ts";
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
    const claim = this.#claimOf(block, { uri: policy.policyRuleUri, answer, log });
    group?.claims.push(claim);
    return { kind: "placed", claim };
  }

  /**
   * A dry run by a policy: its result as it is, with numbers as the policy wrote them. A place that it gave no score has 1,
   * or 0 with the reason when it is not free.
   */
  async dryRun(policy: RequestedPolicy, block: BlockRecord, signal: AbortSignal): Promise<unknown> {
    const asked = {
      action: "dry_run" as const,
      block,
      takenGpus: new Set<string>(),
      extraData: {},
    };
    const { policyRuleUri: uri } = policy;
    const { resultJson, log } = await this.#run(policy, asked, signal);
    const dry = readDryRunAnswer(uri, resultJson);
    if (dry.kind === "scored") return dry.result;
    const { answer, result } = dry;
    if (answer.kind === "unschedulable") return unplaced(answer.reasons);
    const taken = this.#deps.placer.obstacle(this.#claimOf(block, { uri, answer, log }));
    if (taken !== undefined) return unplaced([taken]);
    return { selection_score_data: { score: 1, node_info: result } };
  }

  /** What the place that a policy named comes to; POLICY_FAILED when there is none such. */
  #claimOf(
    block: BlockRecord,
    {
      uri,
      answer: { nodeId, gpuIds, gpusField },
      log,
    }: {
      readonly uri: string;
      readonly answer: Extract<AllocatorAnswer, { kind: "chosen" }>;
      readonly log: ReturnType<typeof logDetails>;
    },
  ): Claim {
    try {
      // How many GPUs an instance gets is the policy's word, as in the existing deployment.
      const field = `the result of policy ${uri}`;
      return this.#deps.placer.claimOf(block, { nodeId, gpuIds, field, gpusField });
    } catch (thrown) {
      if (!(thrown instanceof BerthError)) throw thrown;
      throw new BerthError("POLICY_FAILED", thrown.message, { cause: thrown, details: log });
    }
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
