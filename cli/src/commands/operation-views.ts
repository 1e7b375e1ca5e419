import { printable, type Table } from "../client/table.ts";
import { at, numberAt, textAt } from "../cluster-view.ts";
import { isObject } from "../json.ts";
import { ageOf, fieldLines, whenText } from "./block-views.ts";
import { ageText } from "./row-text.ts";
import { cellText } from "./views.ts";

/** Longest message of a list; one operation shows all of it. */
const MAX_MESSAGE = 100;
/** Operations that nothing more happens to by itself. */
const OVER = ["done", "failed", "abandoned"];

/** Operations, one per row. `nowMs`: the moment that ages are told for, ms since 1970. */
export function operationsView(data: unknown, nowMs: number): Table {
  return {
    columns: ["OPERATION", "CLUSTER", "BLOCK", "ACTION", "STATE", "STEP", "DONE", "AGE", "WHY"],
    rows: (Array.isArray(data) ? data : []).map((one) => [
      cellText(at(one, "operation_id")),
      cellText(at(one, "cluster_id")),
      cellText(at(one, "block_id")),
      cellText(at(one, "action")),
      cellText(at(one, "state")),
      cellText(at(one, "step")),
      progressText(one),
      ageOf(one, "created_at", nowMs),
      shortened(textAt(at(one, "error"), "message") ?? "-"),
    ]),
  };
}

/** One operation: how far it is, how long it takes, and what went wrong. */
export function operationView(data: unknown, nowMs: number): string {
  const error = at(data, "error");
  const result = at(data, "result");
  return fieldLines([
    ["operation", cellText(at(data, "operation_id"))],
    ["cluster", cellText(at(data, "cluster_id"))],
    ["block", cellText(at(data, "block_id"))],
    ["action", cellText(at(data, "action"))],
    ["state", stateText(data)],
    ["step", cellText(at(data, "step"))],
    ["progress", progressText(data)],
    ["attempts", cellText(at(data, "attempts"))],
    ["begun", whenText(data, "created_at", nowMs)],
    ["changed", whenText(data, "updated_at", nowMs)],
    ["took", tookText(data)],
    ...optional("key", at(data, "idempotency_key")),
    ...(isObject(error) ? errorFields(error) : []),
    ...optional("result", result),
  ]);
}

/** What became of an operation that was retried or abandoned. */
export function decidedView(data: unknown): string {
  const block = cellText(at(data, "block_id"));
  const id = cellText(at(data, "operation_id"));
  return `operation ${printable(id)} of block ${printable(block)} is ${printable(stateText(data))}\n`;
}

/** Ids of the operations that wait for somebody to decide. */
export function stuckIds(data: unknown): readonly string[] {
  const all = Array.isArray(data) ? data : [];
  return all
    .filter((one) => at(one, "state") === "stuck")
    .map((one) => cellText(at(one, "operation_id")));
}

function errorFields(error: object): readonly (readonly [string, string])[] {
  const text = `${cellText(at(error, "reason"))}: ${cellText(at(error, "message"))}`;
  return [["error", text], ...optional("details", at(error, "details"))];
}

function optional(name: string, value: unknown): readonly (readonly [string, string])[] {
  return value === undefined || value === null ? [] : [[name, cellText(value)]];
}

/** "1/2"; "-" for a step without parts. */
function progressText(operation: unknown): string {
  const progress = at(operation, "progress");
  const total = numberAt(progress, "total");
  return total === 0 ? "-" : `${numberAt(progress, "done")}/${total}`;
}

function stateText(operation: unknown): string {
  const state = cellText(at(operation, "state"));
  return state === "stuck"
    ? "stuck: nothing else is done to its block before it is retried or abandoned"
    : state;
}

/** From its begin to its end; "-" while it goes on. */
function tookText(operation: unknown): string {
  if (!OVER.includes(textAt(operation, "state") ?? "")) return "-";
  const [beganMs = Number.NaN, endedMs = Number.NaN] = ["created_at", "updated_at"].map((name) =>
    Date.parse(textAt(operation, name) ?? ""),
  );
  return ageText(endedMs - beganMs);
}

function shortened(text: string): string {
  return text.length > MAX_MESSAGE ? `${text.slice(0, MAX_MESSAGE - 1)}…` : text;
}
