import { randomUUIDv7 } from "node:crypto";
import { type BerthError, type Clock, type Logger, Pacer, toBerthError } from "@berth/service-kit";
import type { OrgBooks } from "../../org/org-books.ts";
import { ownersOf } from "../../org/profiles/quota-owners.ts";
import type { ScaleBook } from "../scaling/scale-book.ts";
import { givesWay } from "../scaling/scale-request.ts";
import type { Scaling } from "../scaling/scaling.ts";
import { guardsOf } from "../settings/autoscale-rules.ts";
import type { AutoscaleSettings } from "../settings/autoscale-settings.ts";
import { readDecision } from "../workflows/decision.ts";
import type { KeptWorkflow, WorkflowBook } from "../workflows/workflow-book.ts";
import type { ModuleFacts, WorkflowOutcome, WorkflowRunner } from "../workflows/workflow-runner.ts";
import { askReplicas } from "./ask-replicas.ts";
import type { EvaluationLog } from "./evaluation-log.ts";
import {
  decisionCounts,
  type Evaluation,
  type EvaluationSummary,
  type SubjectDecision,
} from "./evaluation-record.ts";
import type { GuardHistories } from "./guard-histories.ts";
import { type Judged, type JudgingScene, judgeSubjects, leftAsTheyAre } from "./judge-subjects.ts";
import { metricAges, type ReportSource, type TakenReport, workflowInput } from "./taken-report.ts";

/** What an {@link Evaluator} works with. */
export interface EvaluatorDeps {
  readonly books: OrgBooks;
  readonly scale: ScaleBook;
  readonly scaling: Pick<Scaling, "request" | "withdraw" | "reviewApprovals">;
  readonly settings: AutoscaleSettings;
  readonly workflows: WorkflowBook;
  readonly runner: WorkflowRunner;
  readonly histories: GuardHistories;
  readonly reports: ReportSource;
  /** Clusters that were not heard since the start and may have something; none: the view of the fleet is whole. */
  readonly missingClusters: () => Promise<readonly string[]>;
  readonly log: Pick<EvaluationLog, "add">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How an evaluation is asked for. */
export interface EvaluationRequest {
  readonly trigger: EvaluationSummary["trigger"];
  /** Asks for nothing and remembers nothing. */
  readonly isShadow: boolean;
  readonly signal: AbortSignal;
}

/** How an evaluation went, without what is the same of all. */
interface Course extends Pick<EvaluationSummary, "state" | "reason"> {
  readonly decisions?: readonly SubjectDecision[];
  readonly modules?: readonly unknown[];
  readonly report?: TakenReport;
}

const DEADLINE_MS = 300_000;
/** Requests that are made at a time: the store writes them together. */
const AT_ONCE = 256;
const MAX_NAMED = 10;

/** Has the workflow decide, the guards judge, and asks for what is left of it. */
export class Evaluator {
  readonly #deps: EvaluatorDeps;
  readonly #pacer = new Pacer();

  constructor(deps: EvaluatorDeps) {
    this.#deps = deps;
  }

  /** One evaluation. What goes wrong is told in it; it never rejects. */
  async evaluate(request: EvaluationRequest): Promise<Evaluation> {
    const { settings, workflows, clock, log, logger } = this.#deps;
    const evaluationId = randomUUIDv7();
    const startedAt = clock.timestamp();
    const startedMs = clock.nowMs();
    const { workflowId } = settings.rules.current.value;
    const workflow = workflowId === undefined ? undefined : workflows.find(workflowId);
    const course = await this.#course(evaluationId, request, workflow);
    const { state, reason, modules = [], report } = course;
    const decisions = course.decisions ?? this.#undecided(course, workflow);
    const summary: EvaluationSummary = {
      ...{ evaluation_id: evaluationId, started_at: startedAt },
      took_ms: Math.round(clock.nowMs() - startedMs),
      ...{ trigger: request.trigger, shadow: request.isShadow, state, reason },
      ...{ workflow_id: workflowId ?? null, workflow_revision: workflow?.revision ?? null },
      config_version: settings.config.current.version,
      rules_version: settings.rules.current.version,
      report_age_ms: report === undefined ? null : Math.round(report.ageMs),
      ...{ modules, decisions: decisionCounts(decisions) },
    };
    if (state === "failed") logger.warn("an evaluation failed", { evaluationId, reason });
    log.add({ summary, decisions, reportJson: report?.dataJson });
    return { summary, decisions };
  }

  async #course(
    evaluationId: string,
    request: EvaluationRequest,
    workflow: KeptWorkflow | undefined,
  ): Promise<Course> {
    try {
      if (!request.isShadow)
        await this.#deps.scaling.reviewApprovals(Date.parse(this.#deps.clock.timestamp()));
      const held = await this.#reasonToHold(workflow);
      if (held !== undefined || workflow === undefined) {
        return { state: "held", reason: held ?? "there is no workflow" };
      }
      const signal = AbortSignal.any([request.signal, AbortSignal.timeout(DEADLINE_MS)]);
      const report = await this.#deps.reports.take(signal);
      const outcome = await this.#run(workflow, report, { signal, isTrial: request.isShadow });
      const modules = outcome.facts.map(moduleDocument);
      const course = await this.#decided(outcome, { evaluationId, request, workflow, report });
      return { ...course, modules, report };
    } catch (thrown) {
      return { state: "failed", reason: failureText(toBerthError(thrown)) };
    }
  }

  /** Of each subject why nothing was decided; nobody who set no workflow wants to know. */
  #undecided({ state, reason }: Course, workflow: KeptWorkflow | undefined) {
    const quotas = workflow === undefined ? [] : this.#deps.books.quotas.all();
    return leftAsTheyAre(ownersOf(quotas).bySubject, `${state}: ${reason}`);
  }

  async #reasonToHold(workflow: KeptWorkflow | undefined): Promise<string | undefined> {
    const { settings, missingClusters } = this.#deps;
    const { workflowId } = settings.rules.current.value;
    if (workflowId === undefined) {
      return 'no workflow is set: POST /autoscale/rules {"workflow_id": "…"}';
    }
    if (workflow === undefined) return `there is no workflow ${JSON.stringify(workflowId)}`;
    const missing = await missingClusters();
    if (missing.length === 0) return undefined;
    const named = missing.slice(0, MAX_NAMED).join(", ");
    const more = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} more` : "";
    return `waits for clusters that were not heard since the control-plane was started: ${named}${more}`;
  }

  #run(
    kept: KeptWorkflow,
    report: TakenReport,
    { signal, isTrial }: { readonly signal: AbortSignal; readonly isTrial: boolean },
  ): Promise<WorkflowOutcome> {
    const { books, settings, workflows, runner } = this.#deps;
    const workflow = workflows.runnable(kept.id);
    const input = workflowInput(report, ownersOf(books.quotas.all()).bySubject);
    const globalParameters = settings.config.current.body;
    const trial = isTrial ? { trial: { kept: new Map(), isFresh: false } } : {};
    return runner.run(workflow, input, { signal, globalParameters, ...trial });
  }

  async #decided(
    outcome: WorkflowOutcome,
    about: {
      readonly evaluationId: string;
      readonly request: EvaluationRequest;
      readonly workflow: KeptWorkflow;
      readonly report: TakenReport;
    },
  ): Promise<Pick<Course, "state" | "reason" | "decisions">> {
    if (outcome.kind === "skipped") return { state: "skipped", reason: outcome.reason };
    if (outcome.kind === "failed") {
      const where = outcome.module === undefined ? "" : `module ${outcome.module}: `;
      return { state: "failed", reason: `${where}${failureText(outcome.error)}` };
    }
    const { read } = about.workflow;
    const sink = read.kind === "valid" ? read.workflow.graph.sink : "";
    const decision = readDecision(outcome.output, sink);
    if (decision.kind === "unreadable") return { state: "failed", reason: decision.reason };
    const { request } = about;
    const scene = this.#scene(about);
    const judged = await this.#pacer.run(judgeSubjects(decision, scene), request.signal);
    for (const { remember } of judged) {
      if (remember === undefined) continue;
      this.#deps.histories.keep(remember.quotaId, remember.history, remember.from);
    }
    const decisions = await this.#ask(judged);
    await this.#withdraw(judged);
    await this.#forget();
    const { change, needs_approval: waiting } = decisionCounts(decisions);
    const subjects = `${decisions.length} ${decisions.length === 1 ? "subject" : "subjects"}`;
    const reason = `${subjects}: ${change} to change, ${waiting} to be approved`;
    return { state: "done", reason, decisions };
  }

  #scene({
    evaluationId,
    request,
    report,
  }: {
    readonly evaluationId: string;
    readonly request: EvaluationRequest;
    readonly report: TakenReport;
  }): JudgingScene {
    const { books, scale, settings, histories, clock } = this.#deps;
    const rules = settings.rules.current.value;
    const nowMs = Date.parse(clock.timestamp());
    const ages = metricAges(report);
    const refusals = new Map<string, Set<number>>();
    for (const { quotaId, state, replicas, updatedAt } of scale.all()) {
      if (state !== "rejected" || nowMs - Date.parse(updatedAt) >= rules.approvalMs) continue;
      refusals.getOrInsertComputed(quotaId, () => new Set()).add(replicas);
    }
    return {
      ...{ evaluationId, rules, isShadow: request.isShadow, nowMs },
      quotas: ownersOf(books.quotas.all()).bySubject,
      ageMsOf: (subjectId) => Math.max(report.ageMs, ages.get(subjectId) ?? 0),
      ...openOf(scale),
      isRefused: (quotaId, replicas) => refusals.get(quotaId)?.has(replicas) === true,
      historyOf: ({ quotaId, subjectId, replicas: current }) => {
        return histories.of(quotaId, { current, rules: guardsOf(rules, subjectId), nowMs });
      },
    };
  }

  async #ask(judged: readonly Judged[]): Promise<readonly SubjectDecision[]> {
    const decisions: SubjectDecision[] = [];
    for (let from = 0; from < judged.length; from += AT_ONCE) {
      const some = judged.slice(from, from + AT_ONCE);
      const asking = some.map((one) => {
        return this.#isOvertaken(one) ? overtaken(one.decision) : askReplicas(one, this.#deps);
      });
      decisions.push(...(await Promise.all(asking)));
    }
    return decisions;
  }

  /** Nobody is to approve what the workflow or the guards do not want any more. */
  async #withdraw(judged: readonly Judged[]): Promise<void> {
    const { scale, scaling } = this.#deps;
    for (const { withdrawn = [], decision } of judged) {
      const why = `withdrawn: ${decision.why}`.slice(0, 500);
      for (const { uuid } of withdrawn.flatMap((quotaId) => scale.open(quotaId)).filter(givesWay)) {
        await scaling.withdraw(uuid, why);
      }
    }
  }

  /** Something was asked for of the quota since it was judged: that verdict holds no more. */
  #isOvertaken({ asked, remember }: Judged): boolean {
    if (asked === undefined || remember === undefined) return false;
    return !this.#deps.histories.isNewest(remember.quotaId, remember.history);
  }

  /** Of quotas that are gone nothing is to be remembered. */
  #forget(): Promise<void> {
    const { books, histories } = this.#deps;
    const { quotas, transactions } = books;
    return transactions.run((plan) => histories.forget(plan, (id) => quotas.tree.has(id)));
  }
}

function overtaken(decision: SubjectDecision): SubjectDecision {
  const { wanted, current } = decision;
  const why = `wanted ${wanted}, kept at ${current}: another change was asked for meanwhile`;
  return { ...decision, kind: "keep", replicas: current, why };
}

function moduleDocument({ module, ms, attempts, skipped, fellBack }: ModuleFacts): object {
  const why = skipped === undefined ? {} : { skipped };
  return { module, took_ms: Math.round(ms), attempts, fell_back: fellBack, ...why };
}

/** What is under way, and what the autoscaler has asked a human for, which gives way to what needs nobody. */
function openOf(scale: ScaleBook): Pick<JudgingScene, "busy" | "waiting"> {
  const busy = new Set<string>();
  const waiting = new Map<string, number>();
  for (const request of scale.open()) {
    if (givesWay(request)) waiting.set(request.quotaId, request.replicas);
    else busy.add(request.quotaId);
  }
  return { busy, waiting };
}

function failureText({ reason, message }: BerthError): string {
  return reason === "INTERNAL" ? message : `${message} (${reason})`;
}
