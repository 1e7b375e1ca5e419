import type { KeptQuota, Quota } from "../../org/quotas/quota.ts";
import type { SubjectDecision } from "../evaluation/evaluation-record.ts";
import type { Judged, JudgingScene } from "../evaluation/judge-subjects.ts";
import { metricAges } from "../evaluation/taken-report.ts";
import {
  NO_HISTORY,
  type SubjectHistory,
  withChange,
  withRecommendation,
} from "../guards/subject-history.ts";
import { type AutoscaleRules, guardsOf } from "../settings/autoscale-rules.ts";
import type { RecordedReport } from "./recorded-report.ts";

const ASKED: readonly SubjectDecision["kind"][] = ["change", "needs_approval", "shadow"];

/**
 * The quotas of a backtest: their bounds are those of each report, the replicas that are desired are those that the workflow under
 * test would have asked for. Pure state; nothing outside of it changes.
 */
export class Simulation {
  readonly #rules: AutoscaleRules;
  /** By quota. */
  readonly #desired = new Map<string, number>();
  readonly #histories = new Map<string, SubjectHistory>();

  constructor(rules: AutoscaleRules) {
    this.#rules = rules;
  }

  /** Recorded quotas with the replicas that are desired here; of a quota that is new, those of the record. */
  quotas(
    recorded: ReadonlyMap<string, readonly KeptQuota[]>,
  ): ReadonlyMap<string, readonly KeptQuota[]> {
    const simulated = ({ quota, revision }: KeptQuota): KeptQuota => {
      const replicas = this.#desired.getOrInsert(quota.quotaId, quota.replicas);
      return { quota: { ...quota, replicas }, revision };
    };
    return new Map([...recorded].map(([subjectId, own]) => [subjectId, own.map(simulated)]));
  }

  /** What the guards are to know at the time of a report. */
  scene(report: RecordedReport, quotas: ReadonlyMap<string, readonly KeptQuota[]>): JudgingScene {
    const { atMs: nowMs, ageMs } = report;
    const ages = metricAges(report);
    return {
      ...{ evaluationId: "", quotas, rules: this.#rules, isShadow: false, nowMs },
      ageMsOf: (subjectId) => Math.max(ageMs, ages.get(subjectId) ?? 0),
      ...{ busy: new Set(), waiting: new Map(), isRefused: () => false },
      historyOf: (quota) => this.#historyOf(quota, nowMs),
    };
  }

  /** Takes what would have been asked for as desired from now on. */
  take(judged: readonly Judged[], nowMs: number): void {
    for (const { decision, remember } of judged) {
      if (remember === undefined) continue;
      const { quotaId, history } = remember;
      const { kind, subject_id: subjectId, current, replicas } = decision;
      if (!ASKED.includes(kind) || current === null || replicas === null) {
        this.#histories.set(quotaId, history);
        continue;
      }
      const change = { atMs: nowMs, from: current, to: replicas };
      const rules = guardsOf(this.#rules, subjectId);
      this.#histories.set(quotaId, withChange(history, change, rules));
      this.#desired.set(quotaId, replicas);
    }
  }

  #historyOf({ quotaId, subjectId, replicas }: Quota, nowMs: number): SubjectHistory {
    const known = this.#histories.get(quotaId);
    if (known !== undefined) return known;
    const rules = guardsOf(this.#rules, subjectId);
    return withRecommendation(NO_HISTORY, { atMs: nowMs, replicas }, rules);
  }
}
