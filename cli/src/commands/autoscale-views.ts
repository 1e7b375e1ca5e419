import type { Table } from "../client/table.ts";
import { at, listAt, numberAt, textAt } from "../cluster-view.ts";
import { isObject } from "../json.ts";
import { ageOf } from "./block-views.ts";
import { cellText } from "./views.ts";

/** What {@link statusView} shows. */
export interface AutoscaleStatus {
  readonly rules: unknown;
  readonly interval: unknown;
  readonly config: unknown;
  /** The newest evaluation; undefined when there was none. */
  readonly last: unknown;
}

/** How the autoscaler stands, one fact per row. */
export function statusView(data: unknown, nowMs: number): Table {
  const { rules, interval, config, last } = data as AutoscaleStatus;
  const guards = at(rules, "guards");
  const states = ["paused", "shadow"].filter((key) => at(guards, key) === true);
  const next = numberAt(interval, "next_in");
  const told: readonly (readonly [string, string])[] = [
    ["workflow", cellText(at(rules, "workflow_id"))],
    ["state", states.length === 0 ? "on" : states.join(", ")],
    ["interval", `${cellText(at(interval, "interval"))} s`],
    ["next evaluation", next === undefined ? "now" : `in ${next} s`],
    ["config", JSON.stringify(config ?? {})],
  ];
  const evaluated: readonly (readonly [string, string])[] = isObject(last)
    ? [
        [
          "last evaluation",
          `${cellText(at(last, "state"))}, ${ageOf(last, "started_at", nowMs)} ago`,
        ],
        ["its reason", cellText(at(last, "reason"))],
        ["took", `${cellText(at(last, "took_ms"))} ms`],
        ["decisions", countsText(at(last, "decisions"))],
      ]
    : [["last evaluation", "none yet"]];
  return { columns: ["FIELD", "VALUE"], rows: [...told, ...evaluated].map((row) => [...row]) };
}

/** Decisions about subjects, one per row. */
export function decisionsView(data: unknown, nowMs: number): Table {
  return {
    columns: ["AGE", "SUBJECT", "DECISION", "FROM", "WANTED", "TO", "WHY"],
    rows: rowsOf(data).map((one) => [
      ageOf(one, "at", nowMs),
      cellText(at(one, "subject_id")),
      cellText(at(one, "kind")),
      cellText(at(one, "current")),
      cellText(at(one, "wanted")),
      cellText(at(one, "replicas")),
      whyText(one),
    ]),
  };
}

/** Evaluations, one per row. */
export function evaluationsView(data: unknown, nowMs: number): Table {
  return {
    columns: ["EVALUATION", "AGE", "STATE", "WORKFLOW", "TOOK", "DECISIONS", "REASON"],
    rows: rowsOf(data).map((one) => [
      cellText(at(one, "evaluation_id")),
      ageOf(one, "started_at", nowMs),
      `${cellText(at(one, "state"))}${at(one, "shadow") === true ? " (shadow)" : ""}`,
      cellText(at(one, "workflow_id")),
      `${cellText(at(one, "took_ms"))} ms`,
      countsText(at(one, "decisions")),
      cellText(at(one, "reason")),
    ]),
  };
}

/** One evaluation that was just made: how it ended, and each decision. */
export function evaluatedView(data: unknown): Table {
  const subjects = listAt(data, "subjects");
  const head = ["", cellText(at(data, "state")), "", "", "", cellText(at(data, "reason"))];
  return {
    columns: ["SUBJECT", "DECISION", "FROM", "WANTED", "TO", "WHY"],
    rows: [
      head,
      ...subjects.map((one) => [
        cellText(at(one, "subject_id")),
        cellText(at(one, "kind")),
        cellText(at(one, "current")),
        cellText(at(one, "wanted")),
        cellText(at(one, "replicas")),
        whyText(one),
      ]),
    ],
  };
}

/** Workflows, one per row. */
export function workflowsView(data: unknown, nowMs: number): Table {
  return {
    columns: ["WORKFLOW", "NAME", "REVISION", "MODULES", "CHANGED", "PROBLEM"],
    rows: rowsOf(data).map((one) => [
      cellText(at(one, "workflow_id")),
      cellText(at(one, "name") ?? at(at(one, "workflow_metadata"), "name")),
      cellText(at(one, "revision")),
      String(modulesOf(one)),
      ageOf(one, "updated_at", nowMs),
      cellText(at(one, "problem")),
    ]),
  };
}

/** What a backtest gave, one subject per row: what was done, and what would have been. */
export function backtestView(data: unknown): Table {
  const pair = (one: unknown, key: string) =>
    `${cellText(at(at(one, "actual"), key))} → ${cellText(at(one, key))}`;
  return {
    columns: ["SUBJECT", "CHANGES", "REVERSALS", "REPLICA-HOURS", "FIRST DIFFERENCE"],
    rows: listAt(data, "subjects").map((one) => [
      cellText(at(one, "subject_id")),
      pair(one, "changes"),
      pair(one, "reversals"),
      `${hoursText(at(one, "actual"))} → ${hoursText(one)}`,
      differenceText(at(one, "first_difference")),
    ]),
  };
}

/** Settings as they are now, as JSON: one member per row. */
export function settingView(data: unknown): Table {
  const members = isObject(data) ? Object.entries(data) : [];
  return {
    columns: ["KEY", "VALUE"],
    rows: members.map(([key, value]) => [key, typeof value === "string" ? value : textOf(value)]),
  };
}

function textOf(value: unknown): string {
  return JSON.stringify(value) ?? "-";
}

function hoursText(counts: unknown): string {
  const hours = numberAt(counts, "replica_hours");
  return hours === undefined ? "-" : hours.toFixed(2);
}

function differenceText(first: unknown): string {
  if (!isObject(first)) return "none";
  const numbers = `${cellText(at(first, "actual"))} → ${cellText(at(first, "simulated"))}`;
  return `${cellText(at(first, "at"))}: ${numbers} (${cellText(at(first, "why"))})`;
}

function whyText(one: unknown): string {
  const said = textAt(one, "workflow_reason");
  return `${cellText(at(one, "why"))}${said === undefined ? "" : ` (${said})`}`;
}

/** "2 keep, 1 change"; "-" of none. */
function countsText(counts: unknown): string {
  const told = isObject(counts) ? Object.entries(counts) : [];
  const some = told.filter(([, count]) => Number(cellText(count)) > 0);
  return some.length === 0
    ? "-"
    : some.map(([kind, count]) => `${cellText(count)} ${kind}`).join(", ");
}

function modulesOf(workflow: unknown): number {
  const modules = at(workflow, "modules") ?? at(at(workflow, "workflow_metadata"), "modules");
  const checking = at(at(workflow, "checker"), "modules");
  return [modules, checking].flatMap((one) => (isObject(one) ? Object.keys(one) : [])).length;
}

function rowsOf(data: unknown): readonly unknown[] {
  return Array.isArray(data) ? data : [];
}
