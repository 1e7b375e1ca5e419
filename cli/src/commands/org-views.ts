import type { Table } from "../client/table.ts";
import { at, numberAt } from "../cluster-view.ts";
import { ageOf } from "./block-views.ts";
import { ageText, listText } from "./row-text.ts";
import { cellText } from "./views.ts";

/** Quotas, one per row; GPUs are told by flavor. */
export function quotasView(data: unknown): Table {
  return {
    columns: [
      ...["QUOTA", "SUBJECT", "PARENT", "REPLICAS", "OBSERVED"],
      ...["USED", "NOMINAL", "LIMIT", "ALLOCATION"],
    ],
    rows: rowsOf(data).map((quota) => [
      cellText(at(quota, "quota_id")),
      cellText(at(quota, "subject_id")),
      cellText(at(quota, "parent_id")),
      cellText(at(quota, "replica_count")),
      observedText(quota),
      gpusText(at(quota, "used")),
      gpusText(at(quota, "nominal")),
      gpusText(at(quota, "limit")),
      cellText(at(quota, "allocation_info")),
    ]),
  };
}

/** What subjects use, one per row. */
export function subjectsView(data: unknown): Table {
  return {
    columns: ["SUBJECT", "CPU", "MEMORY", "GPUS", "REPLICAS", "SOURCE", "AGE"],
    rows: rowsOf(data).map((one) => [
      cellText(at(one, "subject_id")),
      cellText(at(one, "cpu_usage")),
      withUnit(at(one, "memory_usage"), "MB"),
      cellText(at(one, "gpu_usage")),
      cellText(at(one, "replicas_reported")),
      cellText(at(one, "source")),
      `${secondsText(numberAt(one, "age_seconds"))}${at(one, "stale") === true ? " (stale)" : ""}`,
    ]),
  };
}

/** Requests to scale, one per row. `nowMs`: the moment that ages are told for, ms since 1970. */
export function scaleRequestsView(data: unknown, nowMs: number): Table {
  return {
    columns: ["REQUEST", "SUBJECT", "QUOTA", "FROM", "TO", "STATE", "ORIGIN", "AGE", "WHY"],
    rows: rowsOf(data).map((one) => [
      cellText(at(one, "uuid")),
      cellText(at(one, "subject_id")),
      cellText(at(one, "quota_id")),
      cellText(at(one, "before")),
      cellText(at(one, "replicas")),
      cellText(at(one, "state")),
      cellText(at(one, "origin")),
      ageOf(one, "created_at", nowMs),
      cellText(at(at(one, "response"), "message") ?? at(one, "reason")),
    ]),
  };
}

function rowsOf(data: unknown): readonly unknown[] {
  return Array.isArray(data) ? data : [];
}

function observedText(quota: unknown): string {
  const observed = cellText(at(quota, "observed_replicas"));
  const age = numberAt(quota, "observed_age_seconds");
  return age === undefined || age < 60 ? observed : `${observed} (${secondsText(age)} ago)`;
}

/** "4 H100, 0.5 L4"; "-" of none. */
function gpusText(amounts: unknown): string {
  if (typeof amounts !== "object" || amounts === null) return "-";
  return listText(Object.entries(amounts).map(([flavor, gpus]) => `${gpus} ${flavor}`));
}

function withUnit(value: unknown, unit: string): string {
  const text = cellText(value);
  return text === "-" ? text : `${text} ${unit}`;
}

function secondsText(seconds: number | undefined): string {
  return seconds === undefined ? "-" : ageText(seconds * 1_000);
}
