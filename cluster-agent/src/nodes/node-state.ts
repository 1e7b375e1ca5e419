import type { GpuSample, HostSample } from "@berth/proto";
import { checkGpuSample, checkHostSample, type FieldProblem } from "./check-samples.ts";
import type { GpuReading, HostReading, NodeInventory } from "./inventory.ts";
import type { Liveness } from "./liveness.ts";
import {
  isUnavailable,
  type NodeRecord,
  type NodeView,
  type Received,
  sampledTelemetry,
  type ViewMoment,
} from "./node-view.ts";

/** What is held in memory of one node. */
export interface NodeState {
  record: NodeRecord;
  heardAtMs?: number;
  /** Time since it was heard, or since our own start, in which we could not listen, ms. */
  excusedMs: number;
  host?: Received<HostReading>;
  readonly gpus: Map<string, Received<GpuReading>>;
  /** Verdict that was told last. */
  told: Liveness;
  version: number;
  /** Fields of this registration whose problem was logged. */
  readonly problems: Set<string>;
}

/** Samples of one report; `fingerprint` when the inventory has changed. */
export interface NodeReport {
  readonly fingerprint?: NodeInventory | undefined;
  readonly host?: HostSample | undefined;
  readonly gpus: readonly GpuSample[];
}

/** What the samples of one report came to. */
export interface TakenSamples {
  /** Fields that were dropped. */
  readonly problems: readonly FieldProblem[];
  /** Number of GPUs that can be reached now and could not before, or the other way round. */
  readonly changedGpus: number;
}

/** A node that has said nothing yet. */
export function newNodeState(record: NodeRecord, told: Liveness): NodeState {
  return { record, gpus: new Map(), told, version: 0, problems: new Set(), excusedMs: 0 };
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

/** The node as its view shows it, but for its id and the verdict. */
export function shownNode(node: NodeState, moment: ViewMoment): Omit<NodeView, "id" | "liveness"> {
  const { inventory, slots, agentVersion, firstSeenAt } = node.record;
  const { version } = node;
  const about = { inventory, slots, agentVersion, firstSeenAt, version };
  return { ...about, ...sampledTelemetry(node, moment) };
}

/** Forgets the samples of a boot that is over. */
export function forgetSamples(node: NodeState): void {
  delete node.host;
  node.gpus.clear();
}

/** Forgets the samples of GPUs that the node's inventory does not list any more. */
export function forgetLostGpus(node: NodeState): void {
  const present = new Set(node.record.inventory.gpus.map((gpu) => gpu.uuid));
  for (const uuid of node.gpus.keys()) if (!present.has(uuid)) node.gpus.delete(uuid);
}

/** Takes samples in; what does not hold is dropped and named. */
export function takeSamples(
  node: NodeState,
  samples: Pick<NodeReport, "host" | "gpus">,
  atMs: number,
): TakenSamples {
  const problems: FieldProblem[] = [];
  if (samples.host !== undefined) {
    const checked = checkHostSample(samples.host, node.record.inventory);
    node.host = { reading: checked.reading, atMs };
    problems.push(...checked.problems);
  }
  let changedGpus = 0;
  const present = new Set(node.record.inventory.gpus.map((gpu) => gpu.uuid));
  for (const sample of samples.gpus) {
    if (!present.has(sample.uuid)) {
      problems.push({ field: "gpus", why: "a GPU is not in the fingerprint" });
      continue;
    }
    const checked = checkGpuSample(sample);
    const before = node.gpus.get(sample.uuid)?.reading;
    node.gpus.set(sample.uuid, { reading: checked.reading, atMs });
    if (isUnavailable(before) !== isUnavailable(checked.reading)) changedGpus += 1;
    problems.push(...checked.problems);
  }
  return { problems, changedGpus };
}
