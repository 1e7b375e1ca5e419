import { isJsonObject } from "@berth/service-kit";
import type { AgentApi } from "../fleet/agent-api.ts";
import type { ClusterView } from "../fleet/cluster-view.ts";
import type { HoldCharges } from "../org/charges/hold-charges.ts";
import { askAgent, type Refusal } from "./agent-asking.ts";
import { heldGpus } from "./held-gpus.ts";
import type { HoldRequest } from "./hold-request.ts";
import { newLeaseId } from "./lease-id.ts";
import type { PlacedGpu } from "./placement.ts";
import { slotOf } from "./slot-of.ts";

/** An answer whose GPUs are to be held. */
export interface Holding {
  /** One placement, or a list of them, as the client is to get it. */
  readonly data: unknown;
  readonly hold: HoldRequest;
  /** Who holds it where the client did not say. */
  readonly subject: string;
  /** The quota that it is charged to; undefined: nobody's. */
  readonly quotaId: string | undefined;
  /** A cluster as the policy was given it. */
  readonly viewOf: (clusterId: string) => ClusterView | undefined;
}

/** What came of holding an answer: all of it is held, or nothing is. */
export type HoldOutcome =
  /** One lease for each placement, in their order. */
  | { readonly kind: "held"; readonly leaseIds: readonly string[]; readonly ttlMs: number }
  /** Somebody else has these GPUs. */
  | { readonly kind: "lost"; readonly gpus: readonly PlacedGpu[]; readonly why: string }
  | {
      readonly kind: "refused";
      readonly why: string;
      /** Present when a quota has no room for it. */
      readonly reason?: "QUOTA_EXCEEDED";
    };

/** What charges leases to quotas; see `HoldCharges`. */
export type HoldCharging = Pick<HoldCharges, "quotaOf" | "take" | "end">;

interface Place {
  readonly clusterId: string;
  readonly nodeId: string;
  readonly gpus: readonly string[];
}

/** Leases of one answer. */
const MAX_LEASES = 64;
const DEADLINE_MS = 5_000;

/** Turns answers into leases, at the ledgers of the clusters that they name. */
export class Holder {
  readonly #agents: AgentApi;
  readonly #charges: HoldCharging;

  constructor(agents: AgentApi, charges: HoldCharging) {
    this.#agents = agents;
    this.#charges = charges;
  }

  /** The quota that a hold is charged to. Throws as `HoldCharges.quotaOf` does. */
  quotaOf({ subject, quotaId }: HoldRequest): string | undefined {
    return this.#charges.quotaOf(subject, quotaId);
  }

  /** Holds an answer. Rejects only when the signal is aborted, with its reason; nothing is held for long then. */
  async hold(holding: Holding, signal: AbortSignal): Promise<HoldOutcome> {
    const places = placesOf(holding.data);
    if (places === undefined) return refused("a placement names no node: only nodes can be held");
    if (places.length > MAX_LEASES) {
      return refused(`expected at most ${MAX_LEASES} placements to hold, got ${places.length}`);
    }
    const leases = places.map((place) => ({ place, leaseId: newLeaseId(place.clusterId) }));
    const release = () => this.#release(leases);
    const over = await this.#charge(leases, holding);
    if (over !== undefined) return over;
    try {
      const asked = await Promise.all(
        leases.map((lease) => this.#lease({ ...lease, ...holding }, signal)),
      );
      const failures = asked.flatMap((refusal, index) => {
        const place = places[index];
        return refusal === undefined || place === undefined ? [] : [{ refusal, place }];
      });
      const [first] = failures;
      if (first === undefined) {
        const leaseIds = leases.map(({ leaseId }) => leaseId);
        return { kind: "held", leaseIds, ttlMs: holding.hold.ttlMs };
      }
      release();
      // Of a cluster that cannot be asked nobody knows what it holds: that is settled when it is heard.
      const isKnown = failures.every(({ refusal }) => refusal.reason !== "UNAVAILABLE");
      if (isKnown) await this.#charges.end(leases.map(({ leaseId }) => leaseId));
      const told = failures.find(({ refusal }) => refusal.reason !== "CONFLICT");
      if (told !== undefined) return refused(whyOf(told.refusal, told.place));
      const gpus = failures.flatMap(({ refusal, place }) => lostGpus(refusal, place, holding));
      return { kind: "lost", gpus, why: whyOf(first.refusal, first.place) };
    } catch (thrown) {
      release();
      throw thrown;
    }
  }

  /** Undefined when there is room for all of it. */
  async #charge(
    leases: readonly { readonly place: Place; readonly leaseId: string }[],
    { quotaId, viewOf }: Holding,
  ): Promise<HoldOutcome | undefined> {
    if (quotaId === undefined) return undefined;
    const places = leases.map(({ place, leaseId }) => {
      const { clusterId } = place;
      return { leaseId, clusterId, gpus: heldGpus(viewOf(clusterId), place) };
    });
    const refusal = await this.#charges.take(quotaId, places);
    if (refusal === undefined) return undefined;
    return { kind: "refused", why: refusal.message, reason: "QUOTA_EXCEEDED" };
  }

  async #lease(
    {
      place,
      leaseId,
      hold,
      subject,
    }: Holding & { readonly place: Place; readonly leaseId: string },
    signal: AbortSignal,
  ): Promise<Refusal | undefined> {
    const { clusterId, nodeId, gpus } = place;
    const bodyJson = JSON.stringify({
      ...{ lease_id: leaseId, subject: hold.subject ?? subject, ttl_ms: hold.ttlMs },
      ...{ node_id: nodeId, gpus },
    });
    const request = { clusterId, method: "POST", path: "/leases", bodyJson } as const;
    const asked = await askAgent(this.#agents, request, { timeoutMs: DEADLINE_MS, signal });
    if (asked.kind === "done") return undefined;
    if (asked.kind === "refused") return asked.refusal;
    // That the link failed says nothing of who has the GPUs.
    return { reason: "UNAVAILABLE", message: asked.error.message, details: {} };
  }

  /** What cannot be given back now ends by itself. */
  #release(leases: readonly { readonly place: Place; readonly leaseId: string }[]): void {
    const options = { timeoutMs: DEADLINE_MS, signal: AbortSignal.timeout(DEADLINE_MS) };
    const given = leases.map(({ place, leaseId }) => {
      const path = `/leases/${encodeURIComponent(leaseId)}`;
      const request = { clusterId: place.clusterId, method: "DELETE", path } as const;
      return askAgent(this.#agents, request, options);
    });
    void Promise.allSettled(given);
  }
}

/** What is to be held; undefined when a placement names a cluster and no node. */
function placesOf(data: unknown): readonly Place[] | undefined {
  const items = [data].flat().filter((item) => isJsonObject(item));
  const placed = items.filter(({ cluster_id: clusterId }) => typeof clusterId === "string");
  const places = placed.flatMap(({ cluster_id: clusterId, node_id: nodeId, gpus }): Place[] => {
    if (typeof clusterId !== "string" || typeof nodeId !== "string") return [];
    const slots = Array.isArray(gpus) ? gpus.filter((gpu) => typeof gpu === "string") : [];
    return [{ clusterId, nodeId, gpus: slots }];
  });
  return places.length === placed.length ? places : undefined;
}

/** The GPUs that the refusal names, or, where it names none that the cluster's document has, all of the placement. */
function lostGpus(
  { details }: Refusal,
  { clusterId, nodeId, gpus }: Place,
  { viewOf }: Holding,
): readonly PlacedGpu[] {
  const named = [details.device_uuids, details.gpu_uuids].find(Array.isArray) ?? [];
  const uuids = new Set<unknown>(named);
  const nodes = viewOf(clusterId)?.document.nodes.nodeData ?? [];
  const node = nodes.find(({ id }) => id === nodeId);
  const slots = (node?.gpus?.gpus ?? []).flatMap((gpu, index) => {
    return uuids.has(gpu.uuid) ? [slotOf(gpu, index)] : [];
  });
  return (slots.length > 0 ? slots : gpus).map((slot) => ({ clusterId, nodeId, slot }));
}

function whyOf({ message }: Refusal, { clusterId, nodeId }: Place): string {
  return `node ${nodeId} of cluster ${clusterId}: ${message}`;
}

function refused(why: string): HoldOutcome {
  return { kind: "refused", why };
}
