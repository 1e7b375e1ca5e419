import type { GpuSample, HealthReport, HostSample } from "@berth/proto";
import { checkGpuDetails, PROCESS_LIMITS } from "./check-details.ts";
import { checkHealth } from "./check-health.ts";
import { checkGpuSample, checkHostSample } from "./check-samples.ts";
import type { FieldProblem } from "./field-check.ts";
import { asksForReading, NONE_TAKEN, type TakenGpus } from "./gpu-verdict.ts";
import type { HealthReading } from "./health-facts.ts";
import { HealthWatch } from "./health-watch.ts";
import type { GpuDetailsReading, GpuReading, HostReading, NodeInventory } from "./inventory.ts";
import type { Liveness } from "./liveness.ts";
import type { NodeRecord, NodeView, Received } from "./node-view.ts";

/** What is held in memory of one node. */
export interface NodeState {
  record: NodeRecord;
  heardAtMs?: number;
  /** Time since it was heard, or since our own start, in which we could not listen, ms. */
  excusedMs: number;
  host?: Received<HostReading>;
  readonly gpus: Map<string, Received<GpuReading>>;
  /** Held while samples come without, and growing older. */
  readonly details: Map<string, Received<GpuDetailsReading>>;
  /** All of the newest report; absent before the first one of a boot. */
  health?: Received<HealthReading>;
  samplesTellReasons: boolean;
  /** Whether it has reported in this boot, since our own start. */
  hasReported: boolean;
  /** What was told about its GPUs. */
  readonly watch: HealthWatch;
  /** What the ledger says of its GPUs. */
  taken: TakenGpus;
  /** States and reasons of its GPUs as the cluster document has them. */
  shownGpus: string;
  /** Verdict that was told last. */
  told: Liveness;
  /** Whether it was told as lost because two agents speak for it, which documents say. */
  toldDuplicate: boolean;
  version: number;
  /** Fields of this registration whose problem was logged. */
  readonly problems: Set<string>;
}

/** Samples of one report; `fingerprint` when the inventory has changed, `health` when that has. */
export interface NodeReport {
  readonly fingerprint?: NodeInventory | undefined;
  readonly host?: HostSample | undefined;
  readonly gpus: readonly GpuSample[];
  readonly health?: HealthReport | undefined;
}

/** A node that has said nothing yet. */
export function newNodeState(record: NodeRecord, told: Liveness): NodeState {
  return {
    record,
    excusedMs: 0,
    gpus: new Map(),
    details: new Map(),
    samplesTellReasons: false,
    hasReported: false,
    watch: new HealthWatch(record.told),
    taken: NONE_TAKEN,
    shownGpus: "",
    told,
    toldDuplicate: false,
    version: 0,
    problems: new Set(),
  };
}

/** The node was heard. */
export function heardNode(node: NodeState, atMs: number): void {
  node.heardAtMs = atMs;
  node.excusedMs = 0;
}

/** We could not listen to the node for the last `stalledMs`: as far as it was silent then, that does not count. */
export function excuseSilence(
  node: NodeState,
  stall: { readonly nowMs: number; readonly startedAtMs: number; readonly stalledMs: number },
): void {
  const { nowMs, startedAtMs, stalledMs } = stall;
  const silentMs = nowMs - (node.heardAtMs ?? startedAtMs);
  node.excusedMs = Math.min(node.excusedMs + stalledMs, silentMs);
}

/** Takes another record of the node in: what was read in a former boot, or of GPUs that it does not list, is forgotten. */
export function adoptRecord(node: NodeState, record: NodeRecord): void {
  if (node.record.inventory.bootId !== record.inventory.bootId) forgetBoot(node);
  node.record = record;
  const present = new Set(record.inventory.gpus.map((gpu) => gpu.uuid));
  for (const held of [node.gpus, node.details]) {
    for (const uuid of held.keys()) if (!present.has(uuid)) held.delete(uuid);
  }
}

/**
 * Reasons, by UUID, of the GPUs that were told to be unhealthy before: nothing better is known of them until
 * the first report of the boot, which tells all that is known of their health, and of those that could not
 * be read until their first sample, which comes later.
 */
export function heldOver({ hasReported, watch, gpus }: NodeState): ReadonlyMap<string, string> {
  const told = watch.told?.gpus;
  if (told === undefined) return NONE;
  const isHeld = ({ uuid, reason }: (typeof told)[number]) =>
    !hasReported || (asksForReading(reason) && !gpus.has(uuid));
  return new Map(told.filter(isHeld).map(({ uuid, reason }) => [uuid, reason]));
}

/** States and reasons of GPUs as the cluster document has them; two equal ones need no new document. */
export function shownGpus({ verdicts }: Pick<NodeView, "verdicts">): string {
  return JSON.stringify(verdicts.map(({ state, health, reason }) => [state, health, reason]));
}

/** Takes what a report says in; fields that do not hold are dropped and named. */
export function takeReport(
  node: NodeState,
  report: Pick<NodeReport, "host" | "gpus" | "health">,
  atMs: number,
): FieldProblem[] {
  const problems: FieldProblem[] = [];
  node.hasReported = true;
  if (report.host !== undefined) {
    const checked = checkHostSample(report.host, node.record.inventory);
    node.host = { reading: checked.reading, atMs };
    problems.push(...checked.problems);
  }
  if (report.health !== undefined) {
    const checked = checkHealth(report.health);
    node.health = { reading: checked.reading, atMs };
    problems.push(...checked.problems);
  }
  for (const sample of report.gpus) problems.push(...takeGpu(node, sample, atMs));
  return [...problems, ...boundProcesses(node)];
}

const NONE: ReadonlyMap<string, string> = new Map();

function forgetBoot(node: NodeState): void {
  delete node.host;
  delete node.health;
  node.gpus.clear();
  node.details.clear();
  node.samplesTellReasons = false;
  node.hasReported = false;
}

function takeGpu(node: NodeState, sample: GpuSample, atMs: number): readonly FieldProblem[] {
  const { uuid, details } = sample;
  const gpu = node.record.inventory.gpus.find((one) => one.uuid === uuid);
  if (gpu === undefined) return [{ field: "gpus", why: "a GPU is not in the fingerprint" }];
  const { reading, problems } = checkGpuSample(sample);
  node.gpus.set(uuid, { reading, atMs });
  node.samplesTellReasons ||= reading.throttleReasons.length > 0;
  if (details === undefined) return problems;
  const checked = checkGpuDetails(details, gpu);
  node.details.set(uuid, { reading: checked.reading, atMs });
  return [...problems, ...checked.problems];
}

/** Leaves out what is more than a node may hold: a node-agent tells fewer. */
function boundProcesses(node: NodeState): FieldProblem[] {
  let room: number = PROCESS_LIMITS.node;
  const problems: FieldProblem[] = [];
  for (const [uuid, { reading, atMs }] of node.details) {
    const { processes } = reading;
    if (processes.length > room) {
      const kept = { ...reading, processes: processes.slice(0, room) };
      node.details.set(uuid, { reading: kept, atMs });
      const why = `expected at most ${PROCESS_LIMITS.node} on a node`;
      problems.push({ field: "details processes", why });
    }
    room = Math.max(0, room - processes.length);
  }
  return problems;
}
