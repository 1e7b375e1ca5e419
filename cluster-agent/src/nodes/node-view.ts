import { type GpuVerdict, judgeGpus, type TakenGpus } from "./gpu-verdict.ts";
import type { HealthFact, HealthReading } from "./health-facts.ts";
import { nodeReason } from "./health-reasons.ts";
import type {
  GpuDetailsReading,
  GpuReading,
  GpuSlot,
  HostReading,
  NodeInventory,
  ReadingQuality,
} from "./inventory.ts";
import type { Liveness } from "./liveness.ts";
import { type LifecycleState, lifecycleRefusal } from "./node-lifecycle.ts";
import { isReportedOnly, type ReportedNode } from "./reported-nodes.ts";
import type { ToldHealth } from "./told-health.ts";

/** What the store keeps of a node. */
export interface NodeRecord {
  /** Who told of it, when that was no agent of its own; absent otherwise. */
  readonly reporter?: "kubernetes";
  readonly machineId: string;
  /** Newest start of the node's agent that was taken in. */
  readonly incarnation: number;
  /** UUID of that agent's process; absent in records of older versions. */
  readonly agentInstanceId?: string;
  readonly agentVersion: string;
  readonly inventory: NodeInventory;
  /** Position = slot. */
  readonly slots: readonly GpuSlot[];
  /** ISO 8601, for people. */
  readonly firstSeenAt: string;
  /** Absent when there is nothing. */
  readonly told?: ToldHealth;
}

/** A reading and when it came, on our monotonic clock. */
export interface Received<T> {
  readonly reading: T;
  readonly atMs: number;
}

/** What is held in memory of a node besides its record. */
export interface NodeTelemetry {
  /** When the node was last heard; absent when not since our start. */
  readonly heardAtMs?: number | undefined;
  readonly host?: Received<HostReading> | undefined;
  readonly gpus: ReadonlyMap<string, Received<GpuReading>>;
  readonly details: ReadonlyMap<string, Received<GpuDetailsReading>>;
  readonly health?: Received<HealthReading> | undefined;
  /** Whether samples tell throttle reasons; a driver that is too old for that tells them in the details. */
  readonly samplesTellReasons: boolean;
}

/** A reading as it stands at one moment. */
export interface Sampled<T> {
  readonly reading: T;
  /** Age at that moment, ms. */
  readonly ageMs: number;
  /** `stale` once the reading is older than three intervals. */
  readonly quality: ReadingQuality;
}

/** One node at one moment, for everything that reads: documents, metrics, verdicts. */
export interface NodeView {
  readonly id: string;
  readonly liveness: Liveness;
  /** Two agents speak for it. */
  readonly isDuplicate: boolean;
  /** Where it stands; nothing new goes to a node that is not ready. */
  readonly lifecycle: LifecycleState;
  /** What Kubernetes says of it; absent where it has said nothing since our start. */
  readonly reported?: ReportedNode;
  /** No agent of it has ever joined: all that is known of it comes from Kubernetes. */
  readonly isReportedOnly: boolean;
  /** Why it is unhealthy, for people; absent when it is live. */
  readonly reason?: string;
  /** Time since it was heard, or since our own start, ms. */
  readonly silentMs: number;
  /** Silence after which its telemetry is lost, ms. */
  readonly ttlMs: number;
  readonly inventory: NodeInventory;
  readonly slots: readonly GpuSlot[];
  readonly agentVersion: string;
  readonly firstSeenAt: string;
  /** Age of the newest reading, or of the last sign of life when there is none, ms. */
  readonly ageMs: number;
  readonly host?: Sampled<HostReading>;
  /** By UUID. */
  readonly gpus: ReadonlyMap<string, Sampled<GpuReading>>;
  /** By UUID, with the quality that the node told. */
  readonly details: ReadonlyMap<string, Sampled<GpuDetailsReading>>;
  /** Whether throttle reasons are to be read from samples alone. */
  readonly samplesTellReasons: boolean;
  /** In slot order. */
  readonly verdicts: readonly GpuVerdict[];
  /** Facts about the node, or about a GPU without a slot, the gravest first. */
  readonly nodeFacts: readonly HealthFact[];
  /** Whether the kernel log can be read; absent before the first health report. */
  readonly kernelLog?: ReadingQuality;
  /** Raised at each change of anything above but the ages. */
  readonly version: number;
}

/** The moment at which a view is made, and what it is judged by. Times in ms of one monotonic clock. */
export interface ViewMoment {
  readonly nowMs: number;
  readonly startedAtMs: number;
  readonly intervals: { readonly gpuMs: number; readonly hostMs: number; readonly ttlMs: number };
}

/** What a view is made of. */
export interface Viewed {
  readonly id: string;
  readonly liveness: Liveness;
  readonly isDuplicate: boolean;
  readonly lifecycle: LifecycleState;
  readonly reported?: ReportedNode | undefined;
  readonly record: NodeRecord;
  readonly telemetry: NodeTelemetry;
  /** Reasons, by UUID, of GPUs that are held as unhealthy until something better is known. */
  readonly heldOver: ReadonlyMap<string, string>;
  /** What the ledger says of its GPUs. */
  readonly taken: TakenGpus;
  readonly version: number;
}

/** Intervals without a new reading after which the last one is stale. */
const STALE_AFTER_INTERVALS = 3;

/** The node as it is at one moment; pure. */
export function viewOf(viewed: Viewed, moment: ViewMoment): NodeView {
  const { id, liveness, isDuplicate, lifecycle, reported, record, telemetry, version } = viewed;
  const { inventory, slots, agentVersion, firstSeenAt } = record;
  const { nowMs, startedAtMs, intervals } = moment;
  const silentMs = Math.max(0, Math.round(nowMs - (telemetry.heardAtMs ?? startedAtMs)));
  const { ttlMs } = intervals;
  const reason = nodeReason({ liveness, isDuplicate, silentMs, ttlMs });
  const { health } = telemetry;
  const judged = judgeGpus({
    slots,
    nodeReason: reason,
    listed: new Set(inventory.gpus.map((gpu) => gpu.uuid)),
    unavailable: unavailableGpus(telemetry),
    facts: health === undefined ? [] : agedFacts(health, nowMs),
    heldOver: viewed.heldOver,
  });
  return {
    ...{ id, liveness, isDuplicate, lifecycle, silentMs, ttlMs },
    isReportedOnly: isReportedOnly(record),
    ...(reported === undefined ? {} : { reported }),
    ...(reason === undefined ? {} : { reason }),
    ...{ inventory, slots, agentVersion, firstSeenAt },
    ...sampledTelemetry(telemetry, moment),
    samplesTellReasons: telemetry.samplesTellReasons,
    verdicts: judged.verdicts.map((verdict) => withStanding(verdict, viewed)),
    nodeFacts: judged.nodeFacts,
    ...(health === undefined ? {} : { kernelLog: health.reading.kernelLog }),
    version,
  };
}

/** Whether a node is heard, and new instances may go there. */
export function isOpenNode(node: Pick<NodeView, "liveness" | "lifecycle" | "reported">): boolean {
  return node.liveness === "live" && closedReason(node) === undefined;
}

/** Why nothing new may go to a node, heard or not: where it stands, or what Kubernetes says; undefined when it may. */
export function closedReason({
  lifecycle,
  reported,
}: Pick<Viewed, "lifecycle" | "reported">): string | undefined {
  return lifecycleRefusal(lifecycle) ?? reported?.refusal;
}

function withStanding(verdict: GpuVerdict, viewed: Viewed): GpuVerdict {
  const taken = viewed.taken.get(verdict.uuid);
  const isCordoned = closedReason(viewed) !== undefined;
  if (taken === undefined && !isCordoned) return verdict;
  return {
    ...verdict,
    ...(taken === undefined ? {} : { taken }),
    ...(isCordoned ? { cordoned: true as const } : {}),
  };
}

function sampledTelemetry(
  telemetry: NodeTelemetry,
  { nowMs, startedAtMs, intervals }: ViewMoment,
): Pick<NodeView, "ageMs" | "host" | "gpus" | "details"> {
  const host = telemetry.host && sampled(telemetry.host, nowMs, intervals.hostMs);
  const gpus = new Map(
    [...telemetry.gpus].map(([uuid, gpu]) => [uuid, sampled(gpu, nowMs, intervals.gpuMs)]),
  );
  // How often details are read the node decides, and says itself when they are stale.
  const details = new Map(
    [...telemetry.details].map(([uuid, one]) => [
      uuid,
      sampled(one, nowMs, Number.POSITIVE_INFINITY),
    ]),
  );
  const ages = [...gpus.values(), ...(host ? [host] : [])].map((sample) => sample.ageMs);
  const silentMs = nowMs - (telemetry.heardAtMs ?? startedAtMs);
  const ageMs = ages.length > 0 ? Math.min(...ages) : Math.round(silentMs);
  return { ageMs, gpus, details, ...(host ? { host } : {}) };
}

function unavailableGpus({ gpus }: NodeTelemetry): Set<string> {
  const lost = [...gpus].filter(([, { reading }]) => reading.quality === "unavailable");
  return new Set(lost.map(([uuid]) => uuid));
}

function agedFacts({ reading, atMs }: Received<HealthReading>, nowMs: number): HealthFact[] {
  const sinceMs = Math.max(0, nowMs - atMs);
  return reading.facts.map((fact) => ({ ...fact, ageMs: Math.round(fact.ageMs + sinceMs) }));
}

function sampled<T extends { ageMs: number; quality: ReadingQuality }>(
  { reading, atMs }: Received<T>,
  nowMs: number,
  intervalMs: number,
): Sampled<T> {
  const ageMs = Math.round(reading.ageMs + Math.max(0, nowMs - atMs));
  const old = ageMs > STALE_AFTER_INTERVALS * intervalMs && reading.quality !== "unavailable";
  return { reading, ageMs, quality: old ? "stale" : reading.quality };
}
