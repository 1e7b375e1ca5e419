import { randomUUID } from "node:crypto";

/** Longest id of a lease, characters. */
const MAX_CHARACTERS = 256;

/** An id for a lease on a cluster, which {@link clusterOfLease} finds in it: no id of a cluster has a colon. */
export function newLeaseId(clusterId: string): string {
  const uuid = randomUUID();
  const named = `${clusterId}:${uuid}`;
  return named.length <= MAX_CHARACTERS ? named : uuid;
}

/** The cluster that the id of a lease names; undefined when it names none. */
export function clusterOfLease(leaseId: string): string | undefined {
  const colon = leaseId.lastIndexOf(":");
  return colon > 0 ? leaseId.slice(0, colon) : undefined;
}
