import { askAgent, type Refusal } from "../allocation/agent-asking.ts";
import type { AgentApi } from "../fleet/agent-api.ts";
import type { InstancePlace } from "./placement-record.ts";

/** Leases that are to be held on one cluster. */
export interface WantedLeases {
  readonly clusterId: string;
  readonly leaseIds: readonly string[];
  /** At least as many as leases. */
  readonly places: readonly InstancePlace[];
  readonly subject: string;
  /** What is to run there: an instance of it is what a lease holds the room for. */
  readonly entryJson: string;
}

/** All are held, or why one is not. */
export type LeasesOutcome =
  | { readonly kind: "held" }
  | { readonly kind: "refused"; readonly refusal: Refusal };

const TTL_MS = 60_000;
const DEADLINE_MS = 5_000;
/** Leases that are asked for at a time. */
const AT_ONCE = 8;

/**
 * Holds what a dry run named, one lease for each instance; asking again with the same ids gives the same leases. What
 * was held before one was refused is still held: {@link releaseLeases}. Rejects only when the signal is aborted.
 */
export async function takeLeases(
  agents: AgentApi,
  { clusterId, leaseIds, places, subject, entryJson }: WantedLeases,
  signal: AbortSignal,
): Promise<LeasesOutcome> {
  const pairs = leaseIds.flatMap((leaseId, index) => {
    const place = places[index];
    return place === undefined ? [] : [{ leaseId, place }];
  });
  for (let from = 0; from < pairs.length; from += AT_ONCE) {
    const asked = await Promise.all(
      pairs.slice(from, from + AT_ONCE).map(({ leaseId, place }) => {
        const names = `"lease_id":${JSON.stringify(leaseId)},"subject":${JSON.stringify(subject)}`;
        const where = `"node_id":${JSON.stringify(place.nodeId)},"gpus":${place.gpusJson}`;
        const bodyJson = `{${names},"ttl_ms":${TTL_MS},${where},"block_data":${entryJson}}`;
        const request = { clusterId, method: "POST", path: "/leases", bodyJson } as const;
        return askAgent(agents, request, { timeoutMs: DEADLINE_MS, signal });
      }),
    );
    for (const one of asked) {
      if (one.kind === "refused") return one;
      if (one.kind === "silent") {
        const { reason, message, details } = one.error;
        return { kind: "refused", refusal: { reason, message, details } };
      }
    }
  }
  return { kind: "held" };
}

/** Gives leases back as far as that is possible; what is not given back ends by itself. Never rejects. */
export async function releaseLeases(
  agents: AgentApi,
  { clusterId, leaseIds }: Pick<WantedLeases, "clusterId" | "leaseIds">,
): Promise<void> {
  const options = { timeoutMs: DEADLINE_MS, signal: AbortSignal.timeout(DEADLINE_MS) };
  for (let from = 0; from < leaseIds.length; from += AT_ONCE) {
    await Promise.allSettled(
      leaseIds.slice(from, from + AT_ONCE).map((leaseId) => {
        const path = `/leases/${encodeURIComponent(leaseId)}`;
        return askAgent(agents, { clusterId, method: "DELETE", path }, options);
      }),
    );
  }
}
