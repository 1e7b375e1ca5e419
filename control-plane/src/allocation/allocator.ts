import { setImmediate } from "node:timers/promises";
import type { EvaluationFacts } from "@berth/policy-sandbox";
import {
  BerthError,
  isBerthError,
  type Principal,
  parseLossless,
  toBerthError,
} from "@berth/service-kit";
import type { FleetSnapshot } from "../fleet/cluster-view.ts";
import type { RunnablePolicy } from "../policies/policy-registry.ts";
import type { AllocationFrame, AllocationRequest } from "./allocation-request.ts";
import type { Assumptions } from "./assumptions.ts";
import { type Candidates, chooseCandidates, type RankedSelection } from "./choose-candidates.ts";
import { DecisionDraft } from "./decisions/decision-draft.ts";
import type { DecisionLog } from "./decisions/decision-log.ts";
import { fitCandidates } from "./fit-candidates.ts";
import { hostClients } from "./host-clients.ts";
import { Pacer } from "./pacer.ts";
import { checkPlacement, type PlacedGpu, type PlacementCheck, type TakenGpu } from "./placement.ts";
import { type RankingDeps, rankClusters } from "./rank-clusters.ts";
import { requestCount } from "./request-count.ts";
import { runPolicy } from "./run-policy.ts";
import { shortList } from "./short-list.ts";
import { Sight } from "./sight.ts";

/** Runs of the policy for one request, when others are given the same GPUs meanwhile. */
const MAX_ATTEMPTS = 3;

/** A successful answer: the placement, or why there is none; `warnings` name ids that are unknown. */
export interface AllocationReply {
  readonly success: true;
  /** `{cluster_id, node_id?, gpus?}` with the policy's extra keys, or a list of them. */
  readonly data: unknown;
  /** Names the decision's record. */
  readonly decision_id: string;
  /** False when a lease was asked for: there are none yet. */
  readonly held?: false;
  readonly warnings?: readonly string[];
}

/** What {@link Allocator} needs. */
export interface AllocatorDeps extends RankingDeps {
  readonly clusters: { snapshot(orgId: string): Promise<FleetSnapshot> };
  readonly assumptions: Assumptions;
  readonly decisions: Pick<DecisionLog, "record">;
  /** Seconds for which a placement is assumed when the request does not say. */
  readonly assumeSeconds: number;
}

/** One request on its way through the allocator. */
interface Ask {
  readonly principal: Principal;
  readonly request: AllocationRequest;
  readonly signal: AbortSignal;
  readonly draft: DecisionDraft;
}

/** What one run of the policy came to. */
interface Attempt {
  readonly check: Exclude<PlacementCheck, { kind: "invalid" }>;
  readonly chosen: Candidates;
  readonly sight: Sight;
}

/** Answers allocation requests: candidates, policy, check of the result, record. */
export class Allocator {
  readonly #deps: AllocatorDeps;
  readonly #pacer = new Pacer();

  constructor(deps: AllocatorDeps) {
    this.#deps = deps;
  }

  /**
   * Answers one request. Throws a BerthError: INVALID_ARGUMENT names a bad field, NOT_FOUND an unknown
   * policy, POLICY_FAILED what the policy did wrong (with file and line), POLICY_TIMEOUT, OVERLOADED,
   * CANCELED when the signal was aborted. Everything behind a readable request leaves a decision record,
   * which the answer or the error's details name.
   */
  async allocate(
    principal: Principal,
    frame: AllocationFrame,
    signal: AbortSignal,
  ): Promise<AllocationReply> {
    const request = frame.request();
    const draft = new DecisionDraft(request);
    try {
      const reply = await this.#decide({ principal, request, signal, draft });
      this.#deps.decisions.record(principal.orgId, draft.finish());
      return reply;
    } catch (thrown) {
      const error = signal.aborted ? canceled(thrown) : toBerthError(thrown);
      this.#deps.decisions.record(principal.orgId, draft.fail(error));
      const details = { ...error.details, decision_id: draft.id };
      throw new BerthError(error.reason, error.message, { cause: error.cause ?? thrown, details });
    }
  }

  async #decide(ask: Ask): Promise<AllocationReply> {
    const { principal, request, draft } = ask;
    const policy = await this.#deps.policies.runnable(principal.orgId, request.policyRuleUri);
    draft.policyDigest = policy.code.digest;
    const selection = await this.#ranked(ask);
    const { check, chosen, contested } = await this.#attempts(ask, policy, selection);
    const seconds = request.assumeSeconds ?? this.#deps.assumeSeconds;
    const warnings = [...chosen.warnings, ...contested.map(contestedText)];
    if (check.kind === "placed") {
      const more = (count: number) => `${count} more of the chosen GPUs are not free`;
      warnings.push(...shortList(check.taken.map(takenText), more));
      this.#deps.assumptions.assume(principal.orgId, check.gpus, seconds);
      draft.assumeSeconds = check.gpus.length > 0 ? seconds : 0;
    }
    if (request.isHoldAsked) warnings.push(NO_LEASES);
    draft.answer(check, warnings);
    return {
      success: true,
      data: check.data,
      decision_id: draft.id,
      ...(request.isHoldAsked ? { held: false as const } : {}),
      ...(warnings.length > 0 ? { warnings } : {}),
    };
  }

  /** A search is ranked once; which of its clusters are still there is looked at before each run. */
  async #ranked({ principal, request, signal }: Ask): Promise<RankedSelection> {
    const { selection } = request;
    if (selection.kind !== "search") return selection;
    const sight = await this.#look(principal.orgId);
    const scope = { principal, sight, signal, pacer: this.#pacer };
    return { kind: "ranked", ranking: await rankClusters(selection.search, scope, this.#deps) };
  }

  /**
   * Runs the policy until it has chosen GPUs that nobody was given while it ran. What it still chooses at
   * the last run is its answer.
   */
  async #attempts(ask: Ask, policy: RunnablePolicy, selection: RankedSelection) {
    const { assumptions } = this.#deps;
    for (let attempt = 1; ; attempt += 1) {
      const { check, chosen, sight } = await this.#attempt(ask, policy, selection);
      const gpus = check.kind === "placed" ? check.gpus : [];
      const { orgId } = ask.principal;
      const contested = assumptions.contested(orgId, gpus, sight.newestDecision);
      if (contested.length === 0 || attempt === MAX_ATTEMPTS) return { check, chosen, contested };
    }
  }

  async #attempt(ask: Ask, policy: RunnablePolicy, selection: RankedSelection): Promise<Attempt> {
    const { principal, request, signal, draft } = ask;
    const pacer = this.#pacer;
    let seen: { readonly sight: Sight; readonly chosen: Candidates } | undefined;
    const look = async () => {
      // The worker is free because the decision before has its result: let that one assume its GPUs first.
      await setImmediate();
      const sight = await this.#look(principal.orgId);
      const { resident, chosen } = this.#fit(
        await chooseCandidates(selection, { sight, pacer, signal }),
      );
      seen = { sight, chosen };
      return resident;
    };
    const run = await runPolicy(
      {
        orgId: principal.orgId,
        policy,
        kind: "allocator",
        inputJson: `{"inputs":${request.inputsJson}}`,
        resident: look,
        parameters: request.parameters,
        settings: request.settings,
        fieldPrefix: "",
        clients: hostClients(() => sightOf(seen), pacer),
        signal,
      },
      this.#deps,
    );
    draft.ran(run.facts, seen);
    if (run.kind === "failed") throw run.error;
    const { sight, chosen } = seen ?? (await this.#unseen());
    const candidates = new Map(chosen.candidates.map((view) => [view.id, view]));
    const result = parseLossless(run.resultJson);
    const count = Array.isArray(result) ? requestCount(request.inputsJson) : undefined;
    const check = checkPlacement(result, { candidates, requestCount: count });
    if (check.kind === "invalid") {
      const message = `policy ${policy.record.policy_rule_uri} returned an invalid placement: ${check.message}`;
      const details = logOf(run.facts);
      throw new BerthError("POLICY_FAILED", message, { details });
    }
    return { check, chosen, sight };
  }

  /** What the policy gets of the candidates, and those of them that it can be given. */
  #fit(chosen: Candidates) {
    const { resident, candidates, dropped, warnings } = fitCandidates(chosen.candidates, {
      ...this.#deps,
      kind: "allocator",
      residentOf: (views) => this.#deps.residents.members(views),
    });
    if (dropped.length === 0) return { resident, chosen };
    const fit = {
      candidates,
      dropped: [...chosen.dropped, ...dropped],
      warnings: [...chosen.warnings, ...warnings],
    };
    return { resident, chosen: fit };
  }

  async #look(orgId: string): Promise<Sight> {
    return new Sight(await this.#deps.clusters.snapshot(orgId), this.#deps.assumptions);
  }

  #unseen(): never {
    throw new Error("a policy returned without having been given its input");
  }
}

/** What a request ended with whose client has gone: work that was given up shows as its abort. */
function canceled(thrown: unknown): BerthError {
  if (isBerthError(thrown)) return thrown;
  return new BerthError("CANCELED", "the request was canceled", { cause: thrown });
}

const NO_LEASES = "hold: leases are not there yet; the placement is assumed, not held";

function takenText({ clusterId, nodeId, slot, state }: TakenGpu): string {
  return `GPU ${slot} of node ${nodeId} in cluster ${clusterId} is ${state}`;
}

function contestedText({ clusterId, nodeId, slot }: PlacedGpu): string {
  return `GPU ${slot} of node ${clusterId}/${nodeId} was just given to another caller`;
}

function sightOf(seen: { readonly sight: Sight } | undefined): Sight {
  if (seen === undefined) throw new Error("the policy has not been given its input yet");
  return seen.sight;
}

function logOf(facts: EvaluationFacts): Readonly<Record<string, unknown>> {
  return facts.log === "" ? {} : { log: facts.log };
}
