import { printable, renderTable } from "../client/table.ts";
import { at, listAt, textAt } from "../cluster-view.ts";
import { isObject } from "../json.ts";
import { cellText, hasUnschedulable, placementView } from "./views.ts";

const MAX_IDS_SHOWN = 12;

/** One decision as a text for people: what was asked, what the policy saw, what it said and why. */
export function explainView(decision: unknown): string {
  const timings = at(decision, "timings_ms");
  const lines = [
    `decision   ${field(decision, "decision_id")}  ${field(decision, "decided_at")}`,
    `policy     ${field(decision, "policy_rule_uri")} (${shortDigest(decision, "policy_digest")})`,
    ...rankingLines(decision),
    `inputs     sha256 ${shortDigest(decision, "inputs_digest")}`,
    `inventory  revision ${field(decision, "inventory_revision")}`,
    `outcome    ${field(decision, "outcome")}${attemptsText(decision)}`,
    ...errorLines(decision),
    `time       ${field(timings, "total")} ms: queued ${field(timings, "queued")}, policy ${field(timings, "policy")} (CPU ${field(timings, "policy_cpu")})`,
    `candidates ${idsText(listAt(decision, "candidates"))}`,
  ];
  return [
    `${lines.join("\n")}\n`,
    droppedText(decision),
    warningsText(decision),
    placementText(decision),
    logText("ranking log", at(decision, "ranking")),
    logText("policy log", decision),
  ].join("");
}

/** Decisions, one per row. */
export function decisionsView(data: unknown): {
  columns: readonly string[];
  rows: readonly string[][];
} {
  return {
    columns: ["DECISION", "DECIDED", "OUTCOME", "POLICY", "CLUSTER", "MS"],
    rows: (Array.isArray(data) ? data : []).map((decision) => [
      field(decision, "decision_id"),
      field(decision, "decided_at"),
      field(decision, "outcome"),
      field(decision, "policy_rule_uri"),
      chosenText(at(decision, "data")),
      field(at(decision, "timings_ms"), "total"),
    ]),
  };
}

function chosenText(data: unknown): string {
  const ids = [data].flat().map((item) => cellText(at(item, "cluster_id")));
  return [...new Set(ids)].join(",");
}

function attemptsText(decision: unknown): string {
  const attempts = at(decision, "attempts");
  if (attempts === 0) return "; the policy did not run";
  return typeof attempts === "number" && attempts > 1 ? ` after ${attempts} runs` : "";
}

/** What ranked the candidates of a search. */
function rankingLines(decision: unknown): readonly string[] {
  const ranking = at(decision, "ranking");
  if (!isObject(ranking)) return [];
  const timings = at(ranking, "timings_ms");
  const ran = isObject(timings)
    ? `queued ${field(timings, "queued")} ms, ran ${field(timings, "policy")} ms (CPU ${field(timings, "policy_cpu")})`
    : "did not run";
  const uri = field(ranking, "policy_rule_uri");
  return [`ranking    ${uri} (${shortDigest(ranking, "policy_digest")}): ${ran}`];
}

function errorLines(decision: unknown): readonly string[] {
  const error = at(decision, "error");
  if (!isObject(error)) return [];
  return [`error      ${field(error, "reason")}: ${field(error, "message")}`];
}

function idsText(ids: readonly unknown[]): string {
  const shown = ids.slice(0, MAX_IDS_SHOWN).map((id) => printable(cellText(id)));
  const more = ids.length - shown.length;
  return `${ids.length}${shown.length > 0 ? `: ${shown.join(" ")}` : ""}${more > 0 ? ` and ${more} more` : ""}`;
}

function droppedText(decision: unknown): string {
  const dropped = listAt(decision, "dropped");
  if (dropped.length === 0) return "";
  const rows = dropped.map((item) => [cellText(at(item, "id")), cellText(at(item, "reason"))]);
  const more = at(decision, "dropped_more");
  const rest = typeof more === "number" && more > 0 ? `… and ${more} more\n` : "";
  return `\n${renderTable({ columns: ["NOT CONSIDERED", "REASON"], rows })}${rest}`;
}

function warningsText(decision: unknown): string {
  const warnings = listAt(decision, "warnings").map(
    (text) => `warning: ${printable(cellText(text))}\n`,
  );
  return warnings.length === 0 ? "" : `\n${warnings.join("")}`;
}

function placementText(decision: unknown): string {
  const data = at(decision, "data");
  if (data === null || data === undefined) return "";
  const view = placementView(data);
  const text = typeof view === "string" ? view : renderTable(view);
  const seconds = at(decision, "assume_seconds");
  const assumed =
    typeof seconds === "number" && seconds > 0 && !hasUnschedulable(data)
      ? `the GPUs counted as taken for ${seconds} s\n`
      : "";
  return `\n${text}${assumed}`;
}

/** What a policy printed: the one that ranked, or the one that chose. */
function logText(title: string, ran: unknown): string {
  const log = textAt(ran, "policy_log") ?? "";
  if (log === "") return "";
  const lines = log.trimEnd().split("\n");
  return `\n${title}\n${lines.map((line) => `  ${printable(line)}\n`).join("")}`;
}

function shortDigest(object: unknown, name: string): string {
  return field(object, name).slice(0, 12);
}

function field(object: unknown, name: string): string {
  return printable(cellText(at(object, name)));
}
