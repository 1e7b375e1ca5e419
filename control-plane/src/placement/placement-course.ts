import { randomUUID } from "node:crypto";
import type {
  PlacementAttempt,
  PlacementError,
  PlacementRecord,
  RankedCluster,
  TriedCluster,
} from "./placement-record.ts";

/** Looks at the fleet for one placement. */
export const MAX_ROUNDS = 3;
/** Instances of a block whose places are leased; the cluster places the others when it makes the block. */
const MAX_LEASES = 64;
/** Times that the places on one cluster are asked for anew when others were faster. */
export const MAX_REFRESHES = 3;
/** What a placement waits for while clusters that were heard a moment ago are away. */
export const WAITS_FOR_CLUSTERS = "clusters that were heard a moment ago to come back";
const MAX_TRIED = 200;
const MAX_MESSAGE = 2_000;

/** Refusals that say that the block itself is not right, or is there already: no other cluster is asked. */
const FINAL: readonly string[] = ["INVALID_ARGUMENT", "ALREADY_EXISTS", "PAYLOAD_TOO_LARGE"];
/** Refusals that may be otherwise a moment later. */
const PASSING: readonly string[] = ["CONFLICT", "UNAVAILABLE", "OVERLOADED", "DEADLINE_EXCEEDED"];

/** Whether a refusal by a cluster ends a placement. A cluster's devices and leases are its own affair. */
export function isFinal({ step, reason }: Pick<TriedCluster, "step" | "reason">): boolean {
  if (step === "run") return reason === "ALREADY_EXISTS";
  return (step === "dry_run" || step === "create") && FINAL.includes(reason);
}

/** What a look at the fleet came to: on to the best cluster, or to the end. */
export function afterLook(
  record: PlacementRecord,
  look: {
    readonly ranked: readonly RankedCluster[];
    readonly refused: readonly TriedCluster[];
    readonly warnings: readonly string[];
  },
): PlacementRecord {
  const { error: _passed, waitsFor: _waited, ...before } = record;
  const round = record.round + 1;
  const seen = withTried({ ...before, round, warnings: look.warnings }, look.refused);
  const final = look.refused.find(isFinal);
  if (final !== undefined) return failed(seen, final);
  return next({ ...seen, queue: look.ranked });
}

/**
 * The cluster of the attempt holds nothing of it: on to the next best one, to another look at the fleet when what is in
 * the way may pass, or to the end.
 */
export function afterRefusal(
  record: PlacementRecord,
  refusal: Omit<TriedCluster, "clusterId">,
): PlacementRecord {
  const { current, waitsFor: _waited, ...rest } = record;
  if (current === undefined) throw new Error("a placement without an attempt was refused");
  const tried = { ...refusal, clusterId: current.clusterId };
  const seen = withTried(rest, [tried]);
  if (isFinal(tried)) return failed(seen, tried);
  return next(seen);
}

/** Of the places that a cluster named those that are leased: as many as instances are made with the block, 64 at most. */
export function leasedPlaces(
  places: RankedCluster["places"],
  planned: number,
): RankedCluster["places"] {
  return places.slice(0, Math.min(planned, MAX_LEASES));
}

/** The places of the attempt were lost to somebody else and named anew. */
export function withNewPlaces(
  record: PlacementRecord,
  { score, places }: Pick<RankedCluster, "score" | "places">,
): PlacementRecord {
  const { current } = record;
  if (current === undefined) throw new Error("a placement without an attempt has no places");
  const { refreshes } = current;
  const again = { ...current, score, places, leaseIds: leaseIds(places), refreshes: refreshes + 1 };
  return { ...record, phase: "leasing", current: again };
}

/** The cluster has accepted the creation. */
export function accepted(record: PlacementRecord, operationId: string): PlacementRecord {
  const { current, waitsFor: _waited, ...rest } = record;
  if (current === undefined) throw new Error("a placement without an attempt was accepted");
  return { ...rest, phase: "waiting", current: { ...current, operationId } };
}

/** The cluster knows nothing of the creation any more: it is asked for anew under the same key. */
export function forgotten(record: PlacementRecord): PlacementRecord {
  const { current, ...rest } = record;
  if (current === undefined) throw new Error("a placement without an attempt was forgotten");
  const { operationId: _gone, ...attempt } = current;
  return { ...rest, phase: "creating", current: attempt };
}

/** It can go neither on nor to another cluster. */
export function stuck(record: PlacementRecord, waitsFor: string): PlacementRecord {
  return { ...record, phase: "stuck", waitsFor: cut(waitsFor) };
}

/** An operator has it go on where it was. */
export function retried(record: PlacementRecord): PlacementRecord {
  const { waitsFor: _waited, ...rest } = record;
  const isAccepted = record.current?.operationId !== undefined;
  return { ...rest, phase: isAccepted ? "waiting" : "creating" };
}

/** The block is there. */
export function done(record: PlacementRecord): PlacementRecord {
  const { waitsFor: _waited, requestJson: _request, ...rest } = record;
  return { ...rest, phase: "done", queue: [] };
}

/** An operator has given it up: what the cluster did stays as it is. */
export function abandoned(record: PlacementRecord): PlacementRecord {
  const { requestJson: _request, ...rest } = record;
  return { ...rest, phase: "abandoned", queue: [] };
}

/** It ends with an error that is not any cluster's word. */
export function endedBy(record: PlacementRecord, error: PlacementError): PlacementRecord {
  const { waitsFor: _waited, requestJson: _request, current: _current, ...rest } = record;
  return { ...rest, phase: "failed", queue: [], error };
}

function next(record: Omit<PlacementRecord, "current">): PlacementRecord {
  const [best, ...queue] = record.queue;
  if (best !== undefined) {
    const attempts = record.attempts + 1;
    const current: PlacementAttempt = {
      ...best,
      operationKey: `${record.id}/${attempts}`,
      leaseIds: leaseIds(best.places),
      ...{ refreshes: 0, sends: 0 },
    };
    return { ...record, phase: "leasing", attempts, current, queue };
  }
  const passing = lastWords(record.tried).filter(
    ({ step, reason, mayReturn }) => mayReturn || (step !== "view" && PASSING.includes(reason)),
  );
  if (passing.length > 0 && record.round < MAX_ROUNDS) {
    const areAway = passing.every(({ mayReturn }) => mayReturn);
    const waiting = areAway ? { waitsFor: WAITS_FOR_CLUSTERS } : {};
    return { ...record, phase: "choosing", ...waiting };
  }
  return endedBy(record, { reason: "UNSCHEDULABLE", message: unschedulable(record) });
}

function failed(
  record: Omit<PlacementRecord, "current">,
  { clusterId, reason, message }: TriedCluster,
): PlacementRecord {
  const told = reason === "ALREADY_EXISTS" ? `cluster ${clusterId}: ${message}` : message;
  return endedBy(record, { reason: reason as PlacementError["reason"], message: told });
}

function unschedulable({ blockId, tried, triedMore }: PlacementRecord): string {
  const name = JSON.stringify(blockId);
  if (tried.length === 0) return `no cluster could be asked to take block ${name}`;
  const words = lastWords(tried);
  const told = words.slice(0, 10).map(({ clusterId, message }) => `${clusterId}: ${message}`);
  const more = words.length - told.length + triedMore;
  const others = more > 0 ? `; ${more} more` : "";
  return cut(`no cluster can take block ${name}: ${told.join("; ")}${others}`);
}

/** Of a cluster that was asked several times the last word counts. */
function lastWords(tried: readonly TriedCluster[]): readonly TriedCluster[] {
  return [...new Map(tried.map((one) => [one.clusterId, one])).values()];
}

function withTried<R extends Omit<PlacementRecord, "current">>(
  record: R,
  refused: readonly TriedCluster[],
): R {
  // What one cluster says again in a later round is told once.
  const fresh = new Set(refused.map(({ clusterId, step }) => `${clusterId} ${step}`));
  const kept = record.tried.filter(({ clusterId, step }) => !fresh.has(`${clusterId} ${step}`));
  const all = [...kept, ...refused.map((one) => ({ ...one, message: cut(one.message) }))];
  const tooMany = Math.max(0, all.length - MAX_TRIED);
  return { ...record, tried: all.slice(tooMany), triedMore: record.triedMore + tooMany };
}

function leaseIds(places: RankedCluster["places"]): readonly string[] {
  return places.map(() => randomUUID());
}

function cut(message: string): string {
  return message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE)}…` : message;
}
