import { printable, renderTable, type Table } from "../client/table.ts";
import { at, listAt, numberAt, textAt } from "../cluster-view.ts";
import { ageText, listText } from "./row-text.ts";
import { cellText } from "./views.ts";

const MIB_PER_GIB = 1024;
/** Characters of a UUID that tell GPUs apart for people: "GPU-4013ada4"; JSON has all. */
const SHORT_UUID = 12;

/** Blocks, one per row. `nowMs`: the moment that ages are told for, ms since 1970. */
export function blocksView(data: unknown, nowMs: number): Table {
  return {
    columns: ["CLUSTER", "BLOCK", "PHASE", "READY", "GPUS", "NODES", "COMPONENT", "AGE"],
    rows: (Array.isArray(data) ? data : []).map((block) => {
      const instances = listAt(block, "instances");
      const nodes = [...new Set(instances.map((one) => cellText(at(one, "node_id"))))].sort();
      const gpus = instances.reduce<number>((sum, one) => sum + listAt(one, "gpus").length, 0);
      return [
        cellText(at(block, "cluster_id")),
        cellText(at(block, "block_id")),
        phaseText(block),
        readyText(instances),
        String(gpus),
        listText(nodes),
        cellText(at(block, "component_uri")),
        ageOf(block, "created_at", nowMs),
      ];
    }),
  };
}

/**
 * One block with its instances: as its cluster's agent describes it (`id`, `status`, GPUs by slot), or as the agent told of
 * it when it was heard last (`block_id`, `phase`, GPUs by UUID).
 */
export function blockView(data: unknown, nowMs: number): string {
  const instances = listAt(data, "instances");
  const lines: readonly (readonly [string, string])[] = [
    ["block", cellText(at(data, "block_id") ?? at(data, "id"))],
    ["cluster", cellText(at(data, "cluster_id"))],
    ["phase", phaseText(data)],
    ["ready", `${readyText(instances)} (${boundsText(data)})`],
    ["component", cellText(at(data, "component_uri") ?? at(data, "componentUri"))],
    ...TIMES.filter(([, field]) => at(data, field) !== undefined).map(
      ([name, field]) => [name, whenText(data, field, nowMs)] as const,
    ),
  ];
  const head = fieldLines(lines);
  if (instances.length === 0) return head;
  const columns = ["INSTANCE", "NODE", "GPUS", "PHASE", "READY", "RESTARTS", "ENDPOINT", "WHY"];
  const rows = instances.map((one) => [
    cellText(at(one, "instance_id")),
    cellText(at(one, "node_id")),
    gpusText(one),
    cellText(at(one, "phase")),
    at(one, "ready") === true ? "yes" : "no",
    cellText(at(one, "restarts")),
    cellText(at(one, "endpoint") ?? at(at(one, "endpoints"), "control")),
    cellText(at(one, "message")),
  ]);
  return `${head}\n${renderTable({ columns, rows })}`;
}

/** What instances hold, one per row. An orphan is held for what runs and is in no record. */
export function allocationsView(data: unknown, nowMs: number): Table {
  return {
    columns: ["CLUSTER", "NODE", "BLOCK", "INSTANCE", ...CLAIM_COLUMNS, "STATE", "AGE", "WHY"],
    rows: (Array.isArray(data) ? data : []).map((held) => [
      cellText(at(held, "cluster_id")),
      cellText(at(held, "node_id")),
      cellText(at(held, "block_id")),
      cellText(at(held, "instance_id")),
      ...claimCells(held),
      heldText(held),
      ageOf(held, "taken_at", nowMs),
      cellText(at(held, "note")),
    ]),
  };
}

/** What is held for a while, one per row. */
export function leasesView(data: unknown): Table {
  return {
    columns: ["CLUSTER", "LEASE", "NODE", ...CLAIM_COLUMNS, "SUBJECT", ...LEASE_COLUMNS],
    rows: (Array.isArray(data) ? data : []).map((lease) => [
      cellText(at(lease, "cluster_id")),
      cellText(at(lease, "lease_id")),
      cellText(at(lease, "node_id")),
      ...claimCells(lease),
      cellText(at(lease, "subject")),
      ageText(numberAt(lease, "ttl_left_ms")),
      cellText(at(lease, "renewals")),
      ageText(numberAt(lease, "age_ms")),
      at(lease, "void") === undefined ? "-" : `void: ${cellText(at(lease, "void"))}`,
    ]),
  };
}

/** Fields with their names before them, one per line. */
export function fieldLines(fields: readonly (readonly [string, string])[]): string {
  const width = Math.max(...fields.map(([name]) => name.length));
  return fields.map(([name, text]) => `${name.padEnd(width)}  ${printable(text)}\n`).join("");
}

/** How long ago an ISO 8601 time was; "-" for none. */
export function ageOf(document: unknown, field: string, nowMs: number): string {
  return ageText(nowMs - Date.parse(textAt(document, field) ?? ""));
}

/** An ISO 8601 time with how long ago it was; "-" for none. */
export function whenText(document: unknown, field: string, nowMs: number): string {
  const text = cellText(at(document, field));
  return text === "-" ? text : `${text} (${ageOf(document, field, nowMs)} ago)`;
}

const TIMES = [
  ["created", "created_at"],
  ["updated", "updated_at"],
] as const;
const CLAIM_COLUMNS = ["GPUS", "CPU", "MEMORY", "STORAGE"];
const LEASE_COLUMNS = ["ENDS IN", "RENEWALS", "AGE", "WHY"];

function claimCells(claim: unknown): readonly string[] {
  return [
    gpusText(claim),
    String(numberAt(claim, "cpu_millis") / 1_000),
    gibText(numberAt(claim, "memory")),
    gibText(numberAt(claim, "storage")),
  ];
}

/** "GPU-4013ada4, GPU-89d0c1ff +6", a part with its share: "GPU-4013ada4 (10.0 GiB)"; slots as they are: "0, 1". */
function gpusText(claim: unknown): string {
  const listed = listAt(claim, "gpus");
  if (listed.some((gpu) => typeof gpu === "number")) return listText(listed, 8);
  const gpus = listed.map((gpu) => {
    const uuid = cellText(at(gpu, "uuid")).slice(0, SHORT_UUID);
    const share = numberAt(gpu, "memory");
    return share === 0 ? uuid : `${uuid} (${gibText(share)})`;
  });
  return listText(gpus, 2);
}

function gibText(mebibytes: number): string {
  return mebibytes === 0 ? "-" : `${(mebibytes / MIB_PER_GIB).toFixed(1)} GiB`;
}

/** "committed", "quarantined", "orphan", or both: "orphan, quarantined". */
function heldText(held: unknown): string {
  const state = cellText(at(held, "state"));
  if (at(held, "orphan") !== true) return state;
  return state === "committed" ? "orphan" : `orphan, ${state}`;
}

/** The phase, and whether the cluster that told it can be heard now. */
function phaseText(block: unknown): string {
  const phase = cellText(at(block, "phase") ?? at(at(block, "status"), "phase"));
  return at(block, "live") === false ? `${phase} (cluster is silent)` : phase;
}

function readyText(instances: readonly unknown[]): string {
  const ready = instances.filter((one) => at(one, "ready") === true).length;
  return `${ready}/${instances.length}`;
}

function boundsText(block: unknown): string {
  const least = at(block, "min_instances") ?? at(block, "minInstances");
  const most = at(block, "max_instances") ?? at(block, "maxInstances");
  const bounds = [
    ...(least === undefined ? [] : [`at least ${cellText(least)}`]),
    ...(most === undefined ? [] : [`at most ${cellText(most)}`]),
  ];
  return bounds.join(", ") || "any number";
}
