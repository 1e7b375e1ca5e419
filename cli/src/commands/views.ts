import { printable, type Table } from "../client/table.ts";
import { at, listAt, textAt } from "../cluster-view.ts";
import { isObject, isRawNumber } from "../json.ts";

const NOTHING = "-";

/** Placements of an allocation, or why there is none. One placement, or a list of them. */
export function placementView(data: unknown): Table | string {
  const placements = Array.isArray(data) ? data : [data];
  if (placements.length > 0 && placements.every(isUnschedulable))
    return unschedulableText(placements);
  return {
    columns: ["CLUSTER", "NODE", "GPUS"],
    rows: placements.map((placement) =>
      isUnschedulable(placement)
        ? ["unschedulable", reasonsOf(placement).join("; ") || NOTHING, NOTHING]
        : [
            cellText(at(placement, "cluster_id")),
            cellText(at(placement, "node_id")),
            listAt(placement, "gpus").map(cellText).join(",") || NOTHING,
          ],
    ),
  };
}

/** Whether an allocation found no place: the whole of it, or any of a list. */
export function hasUnschedulable(data: unknown): boolean {
  return Array.isArray(data) ? data.some(isUnschedulable) : isUnschedulable(data);
}

/** Policies, one per row. */
export function policiesView(data: unknown): Table {
  return {
    columns: ["POLICY", "TYPE", "DESCRIPTION"],
    rows: asList(data).map((record) => [
      cellText(at(record, "policy_rule_uri")),
      cellText(at(record, "type")),
      cellText(at(record, "description")),
    ]),
  };
}

/** One policy's fields, one per row, without those that are empty. */
export function policyView(data: unknown): Table {
  const fields = isObject(data) ? Object.entries(data) : [];
  return {
    columns: ["FIELD", "VALUE"],
    rows: fields
      .filter(([, value]) => value !== null && value !== "")
      .map(([key, value]) => [key, cellText(value)]),
  };
}

/** What a publish gave. */
export function publishedView(data: unknown): string {
  const digest = textAt(data, "digest");
  const uri = cellText(at(data, "policy_rule_uri"));
  return `published ${uri}${digest === undefined ? "" : ` (${printable(digest)})`}\n`;
}

function isUnschedulable(placement: unknown): boolean {
  if (at(placement, "unschedulable") === true) return true;
  return (at(placement, "cluster_id") ?? null) === null;
}

function unschedulableText(placements: readonly unknown[]): string {
  const reasons = placements.flatMap(reasonsOf);
  const lines = reasons.length === 0 ? ["the policy gave no reason"] : reasons;
  return `unschedulable\n${lines.map((reason) => `  ${printable(reason)}\n`).join("")}`;
}

function reasonsOf(placement: unknown): readonly string[] {
  return listAt(placement, "reasons").map(cellText);
}

function asList(data: unknown): readonly unknown[] {
  return Array.isArray(data) ? data : [];
}

/** A value as the text of a table's cell; "-" for nothing. */
export function cellText(value: unknown): string {
  if (value === undefined || value === null || value === "") return NOTHING;
  if (typeof value === "string") return value;
  return isRawNumber(value) ? value.rawJSON : JSON.stringify(value);
}
