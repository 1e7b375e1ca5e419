import { BerthError, isJsonObject, valueAt } from "@berth/service-kit";
import type { KeptQuota } from "../../org/quotas/quota.ts";

/** A metrics report that an evaluation looks at. */
export interface TakenReport {
  /** `data` of the report: JSON text of an object. */
  readonly dataJson: string;
  /** How old it is, ms. */
  readonly ageMs: number;
}

/** Where reports come from. */
export interface ReportSource {
  /** The newest report. Rejects UNAVAILABLE when none can be had, or when the signal is aborted. */
  take(signal: AbortSignal): Promise<TakenReport>;
}

/**
 * `data` of a report as it is sent, `{"success": true, "data": {…}}`, or of a bare one. INVALID_ARGUMENT when it is none: an object
 * with `subjects`.
 */
export function reportData(text: string): string {
  const body = parsed(text);
  const isWrapped = isJsonObject(body) && isJsonObject(body.data);
  const data = isWrapped ? body.data : body;
  if (!isJsonObject(data) || !isJsonObject(data.subjects)) {
    throw new BerthError("INVALID_ARGUMENT", "the report: expected an object with subjects");
  }
  const span = isWrapped ? valueAt(text, ["data"]) : undefined;
  return span === undefined ? text : text.slice(span.start, span.end);
}

/** Ages of what subjects use, by subject, in ms; those of which nothing was ever measured are left out. */
export function metricAges({ dataJson, ageMs }: TakenReport): ReadonlyMap<string, number> {
  const { subjects } = JSON.parse(dataJson) as { readonly subjects: Record<string, unknown> };
  const ages = new Map<string, number>();
  if (!isJsonObject(subjects.metrics)) return ages;
  for (const [subjectId, metrics] of Object.entries(subjects.metrics)) {
    const seconds = isJsonObject(metrics) ? metrics.age_seconds : undefined;
    if (typeof seconds === "number") ages.set(subjectId, ageMs + seconds * 1_000);
  }
  return ages;
}

/**
 * What modules of workflows are given: `{"metrics": <data of the report>, "quotas": {"<subject>": [<quota>]}, "replicas":
 * {"<subject>": <desired>}}` as JSON text.
 */
export function workflowInput(
  { dataJson }: TakenReport,
  quotas: ReadonlyMap<string, readonly KeptQuota[]>,
): string {
  const span = valueAt(dataJson, ["subjects", "quotas"]);
  const quotasJson = span === undefined ? "{}" : dataJson.slice(span.start, span.end);
  const replicas = [...quotas].map(([subjectId, own]) => {
    const desired = own.reduce((sum, { quota }) => sum + quota.replicas, 0);
    return `${JSON.stringify(subjectId)}:${desired}`;
  });
  return `{"metrics":${dataJson},"quotas":${quotasJson},"replicas":{${replicas.join(",")}}}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new BerthError("INVALID_ARGUMENT", "the report: it is no JSON", { cause });
  }
}
