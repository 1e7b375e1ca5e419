import { BerthError, type Clock, isJsonObject } from "@berth/service-kit";
import { askAgent } from "../../allocation/agent-asking.ts";
import { readFrame } from "../../allocation/allocation-request.ts";
import type { Allocator, AllocatorDeps } from "../../allocation/allocator.ts";
import { heldGpus } from "../../allocation/held-gpus.ts";
import type { AgentApi, FleetBlocks } from "../../fleet/agent-api.ts";
import type { AllocationProfile } from "../../org/profiles/allocation-profile.ts";
import { type GpuAmounts, showGpuAmounts } from "../../org/quotas/gpu-amounts.ts";
import { releaseLeases } from "../../placement/lease-clerk.ts";
import type { ReplicaPlace } from "./replica-place.ts";
import type { ScaleRequest } from "./scale-request.ts";

/** A replica that needs a place. */
export interface AskedPlace {
  readonly request: ScaleRequest;
  readonly profile: AllocationProfile;
  /** Number of places that there are already. */
  readonly replica: number;
}

/** What came of asking for a place. */
export type Placed =
  /** Its lease holds it; `gpus` is what it has by flavor. */
  | { readonly kind: "placed"; readonly place: ReplicaPlace; readonly gpus: GpuAmounts }
  | { readonly kind: "none"; readonly why: string };

/** Finds places for replicas and holds them at the ledgers of their clusters. */
export interface Placer {
  /** Has the profile's policy choose a place, and holds it. Rejects as {@link Allocator.allocate} does. */
  place(asked: AskedPlace, signal: AbortSignal): Promise<Placed>;
  /** Gives leases back as far as that is possible; the others end by themselves. Never rejects. */
  release(places: readonly ReplicaPlace[]): Promise<void>;
  /**
   * Puts the ends of leases off that have less than half of their time left; gives the ids of the places whose lease is gone. Of
   * a cluster that cannot be asked nothing is known. Rejects when the signal is aborted.
   */
  renew(places: readonly ReplicaPlace[], signal: AbortSignal): Promise<ReadonlySet<string>>;
}

/** What {@link openPlacer} works with. */
export interface PlacerDeps {
  readonly orgId: string;
  readonly allocator: Pick<Allocator, "allocate">;
  readonly clusters: AllocatorDeps["clusters"];
  readonly agents: AgentApi;
  readonly blocks: Pick<FleetBlocks, "of">;
  readonly clock: Pick<Clock, "timestamp">;
}

/** Time of a lease, ms: the most that ledgers give. */
const TTL_MS = 600_000;
const DEADLINE_MS = 5_000;
/** Leases that are renewed at a time. */
const AT_ONCE = 8;
const MAX_SUBJECT_CHARACTERS = 253;

/** {@link Placer} over the allocator and the agents of the fleet. */
export function openPlacer(deps: PlacerDeps): Placer {
  return {
    place: (asked, signal) => place(asked, deps, signal),
    release: (places) => release(places, deps.agents),
    async renew(places, signal) {
      const gone = new Set<string>();
      const due = dueOf(places, deps.blocks);
      for (let from = 0; from < due.length; from += AT_ONCE) {
        const some = due.slice(from, from + AT_ONCE);
        const left = await Promise.all(some.map((one) => isGone(one, deps.agents, signal)));
        for (const [index, { id }] of some.entries()) if (left[index]) gone.add(id);
      }
      return gone;
    },
  };
}

async function place(
  { request, profile, replica }: AskedPlace,
  { orgId, allocator, clusters, agents, clock }: PlacerDeps,
  signal: AbortSignal,
): Promise<Placed> {
  const { uuid, subjectId, quotaId } = request;
  const { policyRuleUri: uri, parameters, clusters: ids, filter } = profile;
  // No id of a subject has a "/": the GPUs are charged to the quota by its replicas, and not once more by this lease.
  const holder = `${orgId}/replica/${quotaId}`.slice(0, MAX_SUBJECT_CHARACTERS);
  const frame = readFrame(
    JSON.stringify({
      ...{ policy_rule_uri: uri, parameters, clusters: ids, filter },
      inputs: { subject_id: subjectId, quota_id: quotaId, replica, uuid, ...gpuInputs(profile) },
      hold: { ttl_ms: TTL_MS, subject: holder },
    }),
  );
  const reply = await allocator.allocate({ orgId, role: "admin" }, frame, signal);
  const chosen = [reply.data].flat().filter(isJsonObject);
  const placed = chosen.filter(({ cluster_id: clusterId }) => typeof clusterId === "string");
  if (placed.length === 0) return { kind: "none", why: whyNone(chosen) };
  if (reply.held !== true) return { kind: "none", why: reply.hold_refused ?? "it is not held" };
  const leaseIds = reply.lease_ids ?? [reply.lease_id ?? ""];
  const [got, ...others] = placed.map(({ cluster_id, node_id, gpus }, index): ReplicaPlace => {
    const leaseId = leaseIds[index] ?? "";
    const where = { clusterId: String(cluster_id), nodeId: String(node_id) };
    const slots = Array.isArray(gpus) ? gpus.map(String) : [];
    return { id: leaseId, ...where, gpus: slots, leaseId, placedAt: clock.timestamp() };
  });
  if (got === undefined || others.length > 0) {
    await release(got === undefined ? [] : [got, ...others], agents);
    const why = `policy ${uri} chose ${placed.length} places for a replica, expected one`;
    throw new BerthError("POLICY_FAILED", why);
  }
  const { clusters: views } = await clusters.snapshot(orgId);
  return { kind: "placed", place: got, gpus: heldGpus(views.get(got.clusterId), got) };
}

/** GPUs of a replica as policies ask for them: all of them together, where that is a whole number, and by flavor. */
function gpuInputs({ gpusPerReplica }: AllocationProfile): Readonly<Record<string, unknown>> {
  const milli = Object.values(gpusPerReplica).reduce((sum, one) => sum + one, 0);
  if (milli === 0) return {};
  const whole = milli % 1_000 === 0 ? { gpus: milli / 1_000 } : {};
  return { ...whole, gpus_per_replica: showGpuAmounts(gpusPerReplica) };
}

/** What the policy says of a replica that fits nowhere. */
function whyNone([none]: readonly Readonly<Record<string, unknown>>[]): string {
  const reasons = Array.isArray(none?.reasons) ? none.reasons.map(String) : [];
  return `no place for a replica: ${reasons.length > 0 ? reasons.join("; ") : "nothing fits"}`;
}

async function release(places: readonly ReplicaPlace[], agents: AgentApi): Promise<void> {
  const byCluster = Map.groupBy(places, ({ clusterId }) => clusterId);
  await Promise.all(
    [...byCluster].map(([clusterId, some]) => {
      const leaseIds = some.flatMap(({ leaseId }) => leaseId ?? []);
      return releaseLeases(agents, { clusterId, leaseIds });
    }),
  );
}

/** Places whose leases are to be renewed, or that their clusters do not tell of. */
function dueOf(
  places: readonly ReplicaPlace[],
  blocks: PlacerDeps["blocks"],
): readonly ReplicaPlace[] {
  const leased = places.filter(({ leaseId }) => leaseId !== undefined);
  const byCluster = Map.groupBy(leased, ({ clusterId }) => clusterId);
  return [...byCluster].flatMap(([clusterId, some]) => {
    const told = blocks.of(clusterId);
    if (told === undefined || !told.isLive) return [];
    const leftMs = new Map(told.leases.map((one) => [one.lease_id, one.ttl_left_ms]));
    return some.filter(({ leaseId = "" }) => (leftMs.get(leaseId) ?? 0) < TTL_MS / 2);
  });
}

/** Renews a lease; whether its ledger says that there is none. One that was renewed too often goes on to its end. */
async function isGone(
  { clusterId, leaseId = "" }: ReplicaPlace,
  agents: AgentApi,
  signal: AbortSignal,
): Promise<boolean> {
  const path = `/leases/${encodeURIComponent(leaseId)}/renew`;
  const bodyJson = JSON.stringify({ ttl_ms: TTL_MS });
  const request = { clusterId, method: "POST", path, bodyJson } as const;
  const asked = await askAgent(agents, request, { timeoutMs: DEADLINE_MS, signal });
  if (asked.kind !== "refused") return false;
  const { reason, details } = asked.refusal;
  return reason === "NOT_FOUND" || details.ledger === "expired" || details.ledger === "fenced";
}
