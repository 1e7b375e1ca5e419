import { BerthError, Pacer, toBerthError } from "@berth/service-kit";
import type { KeptQuota } from "../../org/quotas/quota.ts";
import { type Judged, judgeSubjects } from "../evaluation/judge-subjects.ts";
import { workflowInput } from "../evaluation/taken-report.ts";
import type { AutoscaleRules } from "../settings/autoscale-rules.ts";
import { readDecision } from "../workflows/decision.ts";
import type { TrialContexts } from "../workflows/module-attempts.ts";
import type { Workflow } from "../workflows/workflow.ts";
import type { Body } from "../workflows/workflow-body.ts";
import type { WorkflowRunner } from "../workflows/workflow-runner.ts";
import { BacktestResult, type LastWord } from "./backtest-result.ts";
import { type RecordedReport, reportedQuotas } from "./recorded-report.ts";
import { Simulation } from "./simulation.ts";

/** What is tried on what. */
export interface BacktestRequest {
  readonly workflow: Workflow;
  readonly config: Body;
  readonly rules: AutoscaleRules;
  /** Oldest first. */
  readonly reports: AsyncIterable<RecordedReport> | Iterable<RecordedReport>;
  readonly signal: AbortSignal;
}

/** How a backtest went. */
export interface BacktestOutcome {
  /** Unix time of the first and the last report, ms; undefined without any. */
  readonly span: { readonly fromMs: number; readonly untilMs: number } | undefined;
  readonly evaluations: number;
  /** Evaluations that failed; they change nothing. */
  readonly failed: number;
  readonly result: BacktestResult;
}

type Quotas = ReadonlyMap<string, readonly KeptQuota[]>;
type Course =
  | { readonly kind: "judged"; readonly judged: readonly Judged[] }
  | { readonly kind: "skipped" | "failed"; readonly why: string };

const EACH_MS = 60_000;

/** Runs workflows over recorded reports; writes nothing, and asks for nothing. One at a time. */
export class Backtest {
  readonly #runner: WorkflowRunner;
  readonly #pacer = new Pacer();
  #isRunning = false;

  constructor(runner: WorkflowRunner) {
    this.#runner = runner;
  }

  /**
   * Replays the reports one after the other. INVALID_ARGUMENT of a report that cannot be read; OVERLOADED while another one is under
   * way; CANCELED when the signal is aborted.
   */
  async run(request: BacktestRequest): Promise<BacktestOutcome> {
    if (this.#isRunning) {
      throw new BerthError(
        "OVERLOADED",
        "another backtest is under way: try again when it is over",
      );
    }
    this.#isRunning = true;
    try {
      return await this.#replay(request);
    } finally {
      this.#isRunning = false;
    }
  }

  async #replay(request: BacktestRequest): Promise<BacktestOutcome> {
    const simulation = new Simulation(request.rules);
    const result = new BacktestResult();
    const trial: TrialContexts = { kept: new Map(), isFresh: true };
    let span: BacktestOutcome["span"];
    let evaluations = 0;
    let failed = 0;
    let wordOf = (_: string): LastWord => ({ wanted: null, why: "it is the first report" });
    for await (const report of request.reports) {
      const { atMs } = report;
      checkSignal(request.signal);
      const actual = reportedQuotas(report.dataJson);
      const simulated = simulation.quotas(actual);
      result.note(atMs, { actual, simulated }, wordOf);
      const course = await this.#evaluate({ request, report, simulation, simulated, trial });
      checkSignal(request.signal);
      span = { fromMs: span?.fromMs ?? atMs, untilMs: atMs };
      evaluations += 1;
      if (course.kind === "failed") failed += 1;
      if (course.kind === "judged") simulation.take(course.judged, atMs);
      wordOf = wordsOf(course);
    }
    return { span, evaluations, failed, result };
  }

  async #evaluate({
    request,
    report,
    simulation,
    simulated,
    trial,
  }: {
    readonly request: BacktestRequest;
    readonly report: RecordedReport;
    readonly simulation: Simulation;
    readonly simulated: Quotas;
    readonly trial: TrialContexts;
  }): Promise<Course> {
    const { workflow, config } = request;
    const signal = AbortSignal.any([request.signal, AbortSignal.timeout(EACH_MS)]);
    try {
      const input = workflowInput(report, simulated);
      const options = { signal, globalParameters: config, trial };
      const outcome = await this.#runner.run(workflow, input, options);
      if (outcome.kind === "skipped") return { kind: "skipped", why: outcome.reason };
      if (outcome.kind === "failed") return { kind: "failed", why: outcome.error.message };
      const decision = readDecision(outcome.output, workflow.graph.sink);
      if (decision.kind === "unreadable") return { kind: "failed", why: decision.reason };
      const scene = simulation.scene(report, simulated);
      const judged = await this.#pacer.run(judgeSubjects(decision, scene), signal);
      return { kind: "judged", judged };
    } catch (thrown) {
      return { kind: "failed", why: toBerthError(thrown).message };
    }
  }
}

function wordsOf(course: Course): (subjectId: string) => LastWord {
  if (course.kind !== "judged") {
    return () => ({ wanted: null, why: `${course.kind}: ${course.why}` });
  }
  const words = new Map(course.judged.map(({ decision }) => [decision.subject_id, decision]));
  return (subjectId) => words.get(subjectId) ?? { wanted: null, why: "it had no quota before" };
}

function checkSignal(signal: AbortSignal): void {
  if (signal.aborted) throw new BerthError("CANCELED", "the backtest was given up");
}
