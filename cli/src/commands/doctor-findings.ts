import type { Table } from "../client/table.ts";
import { at, listAt, textAt } from "../cluster-view.ts";
import type { Finding } from "./doctor-finding.ts";
import { approvalFinding, evaluationFindings, healthFindings } from "./doctor-scaling.ts";
import { cellText } from "./views.ts";

/** What was answered, or why nothing was. */
export type Asked =
  | { readonly kind: "told"; readonly data: unknown }
  | { readonly kind: "failed"; readonly message: string };

/** What one live cluster answered. */
export interface ClusterFacts {
  readonly clusterId: string;
  readonly ledger: Asked;
  readonly nodes: Asked;
  readonly prechecks: Asked;
}

/** What {@link findings} looks at. */
export interface FleetFacts {
  readonly fleet: Asked;
  readonly clusters: Asked;
  /** Those that are stuck. */
  readonly operations: Asked;
  /** Those that are stuck. */
  readonly placements: Asked;
  readonly allocations: Asked;
  readonly blocks: Asked;
  /** Parts of `/readyz`. */
  readonly health: Asked;
  /** The newest one alone. */
  readonly evaluations: Asked;
  /** Requests to scale that wait for a human. */
  readonly waiting: Asked;
  /** Of the clusters that are live. */
  readonly live: readonly ClusterFacts[];
}

/** What is wrong with a fleet, or odd: errors first. What could not be asked is a finding too. Pure. */
export function findings(facts: FleetFacts): readonly Finding[] {
  const all = [
    ...of(facts.fleet, "the control-plane's agents", fleetFindings),
    ...of(facts.clusters, "the clusters", (data) => itemsOf(data).flatMap(clusterFindings)),
    ...of(facts.operations, "operations", (data) => itemsOf(data).map(operationFinding)),
    ...of(facts.placements, "placements", (data) => itemsOf(data).map(placementFinding)),
    ...of(facts.allocations, "allocations", (data) => itemsOf(data).flatMap(allocationFindings)),
    ...of(facts.blocks, "blocks", (data) => itemsOf(data).flatMap(blockFindings)),
    ...of(facts.health, "the control-plane", healthFindings),
    ...of(facts.evaluations, "the autoscaler", (data) => itemsOf(data).flatMap(evaluationFindings)),
    ...of(facts.waiting, "requests to scale", (data) => itemsOf(data).map(approvalFinding)),
    ...facts.live.flatMap(liveFindings),
  ];
  return [
    ...all.filter(({ severity }) => severity === "error"),
    ...all.filter(({ severity }) => severity === "warning"),
  ];
}

/** Findings, one per row. */
export function findingsView(data: unknown): Table {
  return {
    columns: ["SEVERITY", "CLUSTER", "ABOUT", "WHAT", "NEXT"],
    rows: itemsOf(data).map((one) =>
      ["severity", "cluster_id", "about", "what", "next"].map((name) => cellText(at(one, name))),
    ),
  };
}

function of(
  asked: Asked,
  about: string,
  look: (data: unknown) => readonly Finding[],
): readonly Finding[] {
  if (asked.kind === "told") return look(asked.data);
  return [{ severity: "error", about, what: `could not be asked: ${asked.message}` }];
}

function fleetFindings(data: unknown): readonly Finding[] {
  const found: Finding[] = [];
  const restored = at(data, "restored");
  if (restored !== null && restored !== undefined) {
    const what = "restored from an older copy: no orders are given";
    const next = "berth fleet status, then berth fleet adopt";
    found.push({ severity: "error", about: "the control-plane's store", what, next });
  }
  for (const agent of listAt(data, "unknown")) {
    const cluster_id = cellText(at(agent, "cluster_id"));
    const what = "asks with a key that this store does not know";
    const next = `berth token create --cluster ${cluster_id}`;
    found.push({ severity: "error", cluster_id, about: "cluster-agent", what, next });
  }
  for (const agent of listAt(data, "agents")) {
    const why = textAt(agent, "why");
    if (why === undefined || why === "") continue;
    const cluster_id = cellText(at(agent, "cluster_id"));
    const what = `${cellText(at(agent, "mode"))}: ${why}`;
    const next = "berth fleet status";
    found.push({ severity: "error", cluster_id, about: "cluster-agent", what, next });
  }
  return found;
}

function clusterFindings(cluster: unknown): readonly Finding[] {
  const status = textAt(cluster, "status") ?? "unknown";
  if (status === "live") return [];
  const cluster_id = cellText(at(cluster, "id"));
  const next = "look whether its cluster-agent runs, and at its log";
  return [{ severity: "error", cluster_id, about: "cluster-agent", what: `is ${status}`, next }];
}

function operationFinding(operation: unknown): Finding {
  const id = cellText(at(operation, "operation_id"));
  const block = cellText(at(operation, "block_id"));
  const what = `is stuck: nothing else is done to block ${block}`;
  const next = `berth operation show|retry|abandon ${id}`;
  return { severity: "error", ...clusterOf(operation), about: `operation ${id}`, what, next };
}

function placementFinding(placement: unknown): Finding {
  const id = cellText(at(placement, "placement_id"));
  const what = `of block ${cellText(at(placement, "block_id"))} is stuck: waits for ${cellText(at(placement, "waits_for"))}`;
  const next = `POST /placements/${id}/retry or /abandon`;
  return { severity: "error", ...clusterOf(placement), about: `placement ${id}`, what, next };
}

function allocationFindings(held: unknown): readonly Finding[] {
  const about = `instance ${cellText(at(held, "block_id"))}/${cellText(at(held, "instance_id"))}`;
  const note = textAt(held, "note");
  const told = note === undefined ? "" : ` (${note})`;
  const found = { severity: "warning", ...clusterOf(held), about } as const;
  if (at(held, "orphan") === true) {
    const what = `runs and is in no record${told}: nothing else gets its GPUs`;
    return [{ ...found, what, next: "end it by the action remove_instance, if nobody needs it" }];
  }
  if (at(held, "state") !== "quarantined") return [];
  const what = `may still run although nobody hears of it${told}`;
  return [{ ...found, what, next: "berth get allocations" }];
}

/** Instances that end again and again. */
function blockFindings(block: unknown): readonly Finding[] {
  return listAt(block, "instances").flatMap((instance) => {
    const restarts = Number(at(instance, "restarts") ?? 0);
    if (at(instance, "ready") === true || !(restarts >= MANY_RESTARTS)) return [];
    const id = cellText(at(instance, "instance_id"));
    const about = `instance ${cellText(at(block, "block_id"))}/${id}`;
    const message = textAt(instance, "message") ?? "it does not say why";
    const what = `is not ready and was started ${restarts} times again: ${message}`;
    const next = "look at its log, and mend its component or take it away";
    return [{ severity: "warning", ...clusterOf(block), about, what, next }];
  });
}

/** So often an instance may be started again before that is odd. */
const MANY_RESTARTS = 3;

function liveFindings({
  clusterId: cluster_id,
  ledger,
  nodes,
  prechecks,
}: ClusterFacts): readonly Finding[] {
  const found = [
    ...of(ledger, "ledger", ledgerFindings),
    ...of(nodes, "nodes", (data) => itemsOf(data).flatMap(nodeFindings)),
    ...of(prechecks, "pre-checks", precheckFindings),
  ];
  return found.map(({ severity, ...rest }) => ({ severity, cluster_id, ...rest }));
}

function ledgerFindings(data: unknown): readonly Finding[] {
  if (at(data, "state") === "open") return [];
  const what = `is closed, nothing is placed: ${cellText(at(data, "why"))}`;
  return [{ severity: "error", about: "ledger", what }];
}

function nodeFindings(node: unknown): readonly Finding[] {
  const id = cellText(at(node, "id"));
  const about = `node ${id}`;
  const state = cellText(at(node, "state"));
  if (state === "expected") {
    const what = `is expected since ${cellText(at(node, "since"))}: its node-agent has not joined`;
    const next = `berth token create --node ${id}, and start its node-agent`;
    return [{ severity: "warning", about, what, next }];
  }
  const liveness = textAt(node, "liveness");
  if (liveness === undefined || liveness === "live") return [];
  const what = `is ${liveness}: ${cellText(at(node, "reason"))}`;
  return [{ severity: "error", about, what, next: "look whether its node-agent runs" }];
}

function precheckFindings(data: unknown): readonly Finding[] {
  const hooks = Object.entries((at(data, "hooks") ?? {}) as object);
  const unreadable = hooks.flatMap(([hook, entry]) => {
    const error = textAt(entry, "error");
    if (error === undefined) return [];
    const what = `refuses everything: ${error}`;
    return [{ severity: "error", about: `pre-check ${hook}`, what, next: MAP_HINT } as const];
  });
  const unknown = listAt(data, "unknown_keys").map((key) => {
    const about = `config.actionsPolicyMap.${cellText(key)}`;
    const what = "names no hook: it is kept, and does nothing";
    return { severity: "warning", about, what, next: MAP_HINT } as const;
  });
  return [...unreadable, ...unknown];
}

const MAP_HINT = "PATCH /clusters/<id>/cluster-actions/update-cluster";

function clusterOf(document: unknown): { readonly cluster_id?: string } {
  const id = textAt(document, "cluster_id");
  return id === undefined ? {} : { cluster_id: id };
}

function itemsOf(data: unknown): readonly unknown[] {
  return Array.isArray(data) ? data : [];
}
