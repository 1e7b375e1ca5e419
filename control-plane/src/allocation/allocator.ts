import {
  type EvaluationFacts,
  logDetails,
  type RunnablePolicy,
  runPolicy,
} from "@berth/policy-sandbox";
import {
  BerthError,
  isBerthError,
  Pacer,
  type Principal,
  parseLossless,
  QueryRunner,
  toBerthError,
} from "@berth/service-kit";
import type { FleetSnapshot } from "../fleet/cluster-view.ts";
import { type AllocationReply, contestedText, holdFields, takenText } from "./allocation-reply.ts";
import type { AllocationFrame, AllocationRequest } from "./allocation-request.ts";
import type { Assumptions } from "./assumptions.ts";
import {
  type Candidates,
  chooseCandidates,
  filterAhead,
  type RankedSelection,
} from "./choose-candidates.ts";
import { DecisionDraft } from "./decisions/decision-draft.ts";
import type { DecisionLog } from "./decisions/decision-log.ts";
import { FilterTurns } from "./filter-turns.ts";
import { fitCandidates } from "./fit-candidates.ts";
import type { Holder, HoldOutcome } from "./holder.ts";
import { hostClients } from "./host-clients.ts";
import { checkPlacement, type PlacedGpu, type PlacementCheck } from "./placement.ts";
import { type RankingDeps, rankClusters } from "./rank-clusters.ts";
import { shortList } from "./short-list.ts";
import { Sight } from "./sight.ts";

/** Runs of the policy for one request, when others are given the same GPUs meanwhile. */
const MAX_ATTEMPTS = 3;
/** Times that the policy chooses anew because somebody else has what was to be held. */
const MAX_HOLD_RETRIES = 3;
/** GPUs of a ledger count as leased for so long after it was asked: until their cluster tells it, s. */
const TOLD_SECONDS = 3;

/** What {@link Allocator} needs. */
export interface AllocatorDeps extends RankingDeps {
  readonly clusters: { snapshot(orgId: string): Promise<FleetSnapshot> };
  readonly assumptions: Assumptions;
  readonly holder: Holder;
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

/** What a run of the policy was given. */
interface Seen {
  readonly sight: Sight;
  readonly chosen: Candidates;
}

/** What a result of the policy came to. */
interface Verdict {
  readonly check: PlacementCheck;
  readonly chosen: Candidates;
  /** Chosen GPUs that others were given while the policy ran. */
  readonly contested: readonly PlacedGpu[];
  /** Whether it is an answer; its GPUs are assumed then. */
  readonly counts: boolean;
  /** Number of the decision that assumes them. */
  readonly decision?: number | undefined;
}

/** The verdict on an answer. */
type Answered = Verdict & { readonly check: Exclude<PlacementCheck, { kind: "invalid" }> };

/** Answers allocation requests: candidates, policy, check of the result, record. */
export class Allocator {
  readonly #deps: AllocatorDeps;
  readonly #queries = new QueryRunner(new Pacer());
  readonly #filters = new FilterTurns();
  /** For what the place of a policy is held for: filters of those who have none yet are not waited for. */
  readonly #heldPacer = new Pacer();

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
    const { hold } = request;
    const quotaId = hold === undefined ? undefined : this.#deps.holder.quotaOf(hold);
    const selection = await this.#ranked(ask);
    const answer = await this.#held(ask, policy, { selection, quotaId });
    const { check, chosen, contested } = answer;
    const warnings = [...chosen.warnings, ...contested.map(contestedText)];
    if (check.kind === "placed") {
      const more = (count: number) => `${count} more of the chosen GPUs are not free`;
      warnings.push(...shortList(check.taken.map(takenText), more));
      draft.assumeSeconds = check.gpus.length > 0 ? this.#assumeSeconds(request) : 0;
    }
    if (answer.hold?.kind === "lost" || answer.hold?.kind === "refused") {
      warnings.push(`hold: ${answer.hold.why}`);
    }
    draft.answer(check, warnings);
    return {
      success: true,
      data: check.data,
      decision_id: draft.id,
      ...(request.hold === undefined ? {} : holdFields(answer.hold, check.data)),
      ...(warnings.length > 0 ? { warnings } : {}),
    };
  }

  /**
   * What takes long is done before the policy has its turn: a filter is looked through, a search ranked. Which
   * clusters are still there, and match, is looked at before each run.
   */
  async #ranked({ principal, request, signal, draft }: Ask): Promise<RankedSelection> {
    const { selection } = request;
    if (selection.kind !== "search" && selection.kind !== "filter") return selection;
    const sight = await this.#look(principal.orgId);
    draft.looked(sight);
    const scope = { principal, sight, signal, draft, pacer: this.#filters, queries: this.#queries };
    if (selection.kind === "filter") return filterAhead(selection.filter, scope);
    return { kind: "ranked", ranking: await rankClusters(selection.search, scope, this.#deps) };
  }

  /**
   * Runs the policy until what it chose is held, when that is asked for. GPUs that somebody else has it sees as leased at
   * the next run.
   */
  async #held(
    ask: Ask,
    policy: RunnablePolicy,
    { selection, quotaId }: { selection: RankedSelection; quotaId: string | undefined },
  ): Promise<Answered & { readonly hold?: HoldOutcome }> {
    const { principal, request, signal, draft } = ask;
    const { hold } = request;
    const { assumptions, holder } = this.#deps;
    for (let retries = 0; ; retries += 1) {
      const { newest } = assumptions;
      const answer = await this.#attempts(ask, policy, selection);
      const { check, chosen } = answer;
      if (hold === undefined || check.kind !== "placed") return answer;
      const views = new Map(chosen.candidates.map((view) => [view.id, view]));
      const viewOf = (clusterId: string) => views.get(clusterId);
      const holding = { data: check.data, hold, subject: draft.id, quotaId, viewOf };
      const outcome = await holder.hold(holding, signal);
      const { orgId } = principal;
      if (outcome.kind === "held" && answer.decision !== undefined) {
        const assumed = { decision: answer.decision, seconds: TOLD_SECONDS };
        assumptions.shorten(orgId, check.gpus, assumed);
      }
      if (outcome.kind !== "lost" || retries === MAX_HOLD_RETRIES) {
        return { ...answer, hold: outcome };
      }
      if (answer.decision !== undefined) assumptions.withdraw(orgId, check.gpus, answer.decision);
      assumptions.assume(orgId, outcome.gpus, { seconds: TOLD_SECONDS, since: newest });
    }
  }

  /**
   * Runs the policy until it has chosen GPUs that nobody was given while it ran. What it still chooses at
   * the last run is its answer.
   */
  async #attempts(ask: Ask, policy: RunnablePolicy, selection: RankedSelection): Promise<Answered> {
    for (let attempt = 1; ; attempt += 1) {
      const isLast = attempt === MAX_ATTEMPTS;
      const verdict = await this.#attempt(ask, { policy, selection, isLast });
      if (verdict.counts) return verdict;
    }
  }

  async #attempt(
    ask: Ask,
    run: {
      readonly policy: RunnablePolicy;
      readonly selection: RankedSelection;
      readonly isLast: boolean;
    },
  ): Promise<Answered> {
    const { principal, request, signal, draft } = ask;
    const { policy, isLast } = run;
    let seen: Seen | undefined;
    let verdict: Verdict | undefined;
    const ran = await runPolicy(
      {
        orgId: principal.orgId,
        policy,
        kind: "allocator",
        inputJson: `{"inputs":${request.inputsJson}}`,
        resident: async (heldSignal) => {
          const sight = await this.#look(principal.orgId);
          const scope = { sight, signal: heldSignal, pacer: this.#heldPacer };
          const { resident, chosen } = this.#fit(await chooseCandidates(run.selection, scope));
          seen = { sight, chosen };
          return resident;
        },
        parameters: request.parameters,
        settings: request.settings,
        fieldPrefix: "",
        clients: hostClients(() => seenOf(seen).sight, this.#queries),
        accept: (resultJson) => {
          verdict = this.#judge(ask, seenOf(seen), { resultJson, isLast });
          return verdict.counts;
        },
        signal,
      },
      this.#deps,
    );
    draft.ran(ran.facts, seen);
    if (ran.kind === "failed") throw ran.error;
    return answered(verdict, policy, ran.facts);
  }

  /**
   * Holds a result against what the policy was given, while nothing else of the policy runs: GPUs of one that counts
   * are assumed at once, so that nobody is given them in between.
   */
  #judge(
    { principal: { orgId }, request }: Ask,
    { sight, chosen }: Seen,
    { resultJson, isLast }: { readonly resultJson: string; readonly isLast: boolean },
  ): Verdict {
    const { assumptions } = this.#deps;
    const candidates = new Map(chosen.candidates.map((view) => [view.id, view]));
    const result = parseLossless(resultJson);
    const check = checkPlacement(result, { candidates, requestCount: request.requestCount });
    if (check.kind === "invalid") return { check, chosen, contested: [], counts: false };
    const gpus = check.kind === "placed" ? check.gpus : [];
    const since = sight.newestDecision;
    const contested = assumptions.contested(orgId, gpus, since);
    const counts = contested.length === 0 || isLast;
    const seconds = this.#assumeSeconds(request);
    const decision = counts ? assumptions.assume(orgId, gpus, { seconds, since }) : undefined;
    return { check, chosen, contested, counts, decision };
  }

  #assumeSeconds({ assumeSeconds }: AllocationRequest): number {
    return assumeSeconds ?? this.#deps.assumeSeconds;
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
    const { clusters, assumptions } = this.#deps;
    // Before the look: of a cluster that is removed meanwhile nothing may be assumed.
    const { newest } = assumptions;
    return new Sight(await clusters.snapshot(orgId), assumptions, newest);
  }
}

/** What a request ended with whose client has gone: work that was given up shows as its abort. */
function canceled(thrown: unknown): BerthError {
  if (isBerthError(thrown)) return thrown;
  return new BerthError("CANCELED", "the request was canceled", { cause: thrown });
}

function seenOf(seen: Seen | undefined): Seen {
  if (seen === undefined) throw new Error("the policy has not been given its input yet");
  return seen;
}

/** The verdict, if it is not that the result is no placement at all. */
function answered(
  verdict: Verdict | undefined,
  policy: RunnablePolicy,
  facts: EvaluationFacts,
): Answered {
  if (verdict === undefined) throw new Error("the result of a policy was not judged");
  const { check } = verdict;
  if (check.kind !== "invalid") return { ...verdict, check };
  const message = `policy ${policy.uri} returned an invalid placement: ${check.message}`;
  throw new BerthError("POLICY_FAILED", message, { details: logDetails(facts) });
}
