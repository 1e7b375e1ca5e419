import { BerthError, isJsonObject } from "@berth/service-kit";
import { type KeptQuota, newQuota } from "../../org/quotas/quota.ts";
import type { EvaluationLog } from "../evaluation/evaluation-log.ts";
import type { TakenReport } from "../evaluation/taken-report.ts";

/** A report, and when an evaluation looked at it. */
export interface RecordedReport extends TakenReport {
  /** Unix time, ms. */
  readonly atMs: number;
}

/** Which recorded reports are replayed. */
export interface ReportWindow {
  /** Unix time, ms. */
  readonly fromMs: number;
  /** Unix time, ms. */
  readonly untilMs: number;
  /** Most evaluations; the newest of the window count. */
  readonly limit: number;
}

/** The reports that remembered evaluations looked at, oldest first; those that had none are left out. */
export async function* loggedReports(
  log: Pick<EvaluationLog, "list" | "reportOf">,
  { fromMs, untilMs, limit }: ReportWindow,
): AsyncGenerator<RecordedReport> {
  const chosen = log
    .list()
    .map((summary) => ({ summary, atMs: Date.parse(summary.started_at) }))
    .filter(({ summary, atMs }) => {
      return summary.report_age_ms !== null && atMs >= fromMs && atMs <= untilMs;
    })
    .slice(0, limit);
  for (const { summary, atMs } of chosen.toReversed()) {
    // Undefined when it was pruned meanwhile.
    const dataJson = await log.reportOf(summary.evaluation_id);
    if (dataJson !== undefined) yield { dataJson, atMs, ageMs: summary.report_age_ms ?? 0 };
  }
}

/**
 * The quotas of a report by subject, as they were then; `created_at` and revisions are not told. INVALID_ARGUMENT names the subject of
 * one that cannot be read.
 */
export function reportedQuotas(dataJson: string): ReadonlyMap<string, readonly KeptQuota[]> {
  const { subjects } = JSON.parse(dataJson) as { readonly subjects: Record<string, unknown> };
  const bySubject = new Map<string, readonly KeptQuota[]>();
  for (const [subjectId, own] of Object.entries(
    isJsonObject(subjects.quotas) ? subjects.quotas : {},
  )) {
    const bodies = Array.isArray(own) ? own : [own];
    bySubject.set(
      subjectId,
      bodies.map((body) => readQuota(subjectId, body)),
    );
  }
  return bySubject;
}

function readQuota(subjectId: string, body: unknown): KeptQuota {
  const field = `subjects.quotas[${JSON.stringify(subjectId.slice(0, 100))}]`;
  if (!isJsonObject(body) || body.replica_count === undefined) {
    throw new BerthError("INVALID_ARGUMENT", `${field}: expected quotas with replica_count`);
  }
  const given = { ...body, subject_id: subjectId };
  return { quota: newQuota(given, { mintId: () => subjectId, now: "" }), revision: 1 };
}
