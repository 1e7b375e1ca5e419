import type { GpuState, HealthClassName } from "@berth/proto";
import { byGravity, type HealthFact, isGrave } from "./health-facts.ts";
import { factReason } from "./health-reasons.ts";
import type { GpuSlot } from "./inventory.ts";

/** How a GPU, or a part of it, is held. */
export type TakenState = Extract<GpuState, "leased" | "allocated">;

/** What the ledger says of the GPUs of a node, by UUID; those that nobody holds are absent. */
export type TakenGpus = ReadonlyMap<string, TakenState>;

/** Nobody holds any. */
export const NONE_TAKEN: TakenGpus = new Map();

/** What the GPU in a slot can be used for, and what is known to be wrong with it. */
export interface GpuVerdict {
  readonly uuid: string;
  readonly state: Extract<GpuState, "free" | "unhealthy">;
  /** Who has it, as the ledger says; absent when nobody has. */
  readonly taken?: TakenState;
  /** Nothing new goes to its node; absent otherwise. */
  readonly cordoned?: true;
  /** Gravest class of what is known to be wrong with it; absent when nothing is. */
  readonly health?: HealthClassName;
  /** Why it is unhealthy, for people; absent otherwise. */
  readonly reason?: string;
  /** What is known about it, the gravest first. */
  readonly facts: readonly HealthFact[];
}

/** What GPUs are judged by. */
export interface GpuEvidence {
  readonly slots: readonly Pick<GpuSlot, "uuid">[];
  /** Why the node itself is unhealthy; undefined when it is live. */
  readonly nodeReason: string | undefined;
  /** UUIDs of the devices that the driver lists. */
  readonly listed: ReadonlySet<string>;
  /** UUIDs of those whose telemetry says that they cannot be reached. */
  readonly unavailable: ReadonlySet<string>;
  /** Everything that is known of the node's health. */
  readonly facts: readonly HealthFact[];
  /** Reasons, by UUID, of GPUs that were unhealthy before, and of which nothing better has been heard. */
  readonly heldOver: ReadonlyMap<string, string>;
}

/** Verdicts in slot order, and the facts that are about no slot. */
export interface Judged {
  readonly verdicts: readonly GpuVerdict[];
  /** Facts about the node, or about a GPU without a slot, the gravest first. */
  readonly nodeFacts: readonly HealthFact[];
}

const UNLISTED = "the driver does not list it";
const UNREAD = "it cannot be read";

/** Whether only a reading of the GPU can show that this reason no longer holds. */
export function asksForReading(reason: string): boolean {
  return reason === UNLISTED || reason === UNREAD;
}

/**
 * Judges the GPUs of a node; pure. A GPU is unhealthy when its node is not live, when a fact says that it
 * needs a reset or is broken (one that only happened counts for the whole boot), when its driver hangs or
 * does not list it, and when it cannot be read. A program's fault never makes it unhealthy.
 */
export function judgeGpus(evidence: GpuEvidence): Judged {
  const slotted = new Set(evidence.slots.map((slot) => slot.uuid));
  const byGpu = new Map<string, HealthFact[]>();
  const nodeFacts: HealthFact[] = [];
  for (const fact of [...evidence.facts].sort(byGravity)) {
    if (!slotted.has(fact.gpuUuid)) nodeFacts.push(fact);
    else byGpu.getOrInsert(fact.gpuUuid, []).push(fact);
  }
  const hung = nodeFacts.find(isHungDriver);
  const verdicts = evidence.slots.map(({ uuid }) => {
    return judgeGpu(uuid, { ...evidence, facts: byGpu.get(uuid) ?? [], hung });
  });
  return { verdicts, nodeFacts };
}

function judgeGpu(
  uuid: string,
  evidence: GpuEvidence & { readonly hung: HealthFact | undefined },
): GpuVerdict {
  const { facts, hung } = evidence;
  const [gravest] = hung === undefined ? facts : [...facts, hung].sort(byGravity);
  const health = gravest === undefined ? {} : { health: gravest.class };
  const reason =
    evidence.nodeReason ??
    graveReason(facts) ??
    (hung && factReason(hung)) ??
    (evidence.listed.has(uuid) ? undefined : UNLISTED) ??
    (evidence.unavailable.has(uuid) ? UNREAD : undefined) ??
    evidence.heldOver.get(uuid);
  if (reason === undefined) return { uuid, state: "free", ...health, facts };
  return { uuid, state: "unhealthy", ...health, reason, facts };
}

function isHungDriver(fact: HealthFact): boolean {
  return fact.kind === "driver_hung" && fact.gpuUuid === "" && fact.holds && isGrave(fact);
}

/** Of equally grave facts the one with a number says most: "XID 79: …" rather than "fallen off the bus". */
function graveReason(facts: readonly HealthFact[]): string | undefined {
  const [first] = facts;
  if (first === undefined || !isGrave(first)) return undefined;
  const equal = facts.filter((fact) => fact.class === first.class);
  return factReason(equal.find((fact) => fact.kind === "xid") ?? first);
}
