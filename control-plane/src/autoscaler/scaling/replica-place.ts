/** Where one replica without a block is. JSON as stored. */
export interface ReplicaPlace {
  /** Stays the same while the place is kept. */
  readonly id: string;
  readonly clusterId: string;
  readonly nodeId: string;
  /** Slots. */
  readonly gpus: readonly string[];
  /** The lease that holds it; absent when that is gone: somebody has taken it over, or it has ended. */
  readonly leaseId?: string;
  /** ISO 8601. */
  readonly placedAt: string;
}

/** Places of one quota. */
export const MAX_PLACES = 1_000;
/** Of places in one list of a response; the bus takes messages of 512 KiB. */
const MAX_LIST_BYTES = 192 * 1024;

/** What a confirmation tells of places: those that there are, and those that go with it. */
export function placesFields(
  places: readonly ReplicaPlace[],
  gone: readonly ReplicaPlace[],
): Readonly<Record<string, unknown>> {
  return {
    ...listed("places", places),
    ...(gone.length > 0 ? listed("removed_places", gone) : {}),
  };
}

/** The newest come first where a list has no room for all. */
function listed(key: string, places: readonly ReplicaPlace[]) {
  const documents = places.map(({ clusterId, nodeId, gpus, leaseId }) => ({
    ...{ cluster_id: clusterId, node_id: nodeId, gpus },
    ...(leaseId === undefined ? {} : { lease_id: leaseId }),
  }));
  let bytes = 0;
  const fits = documents.toReversed().filter((document) => {
    bytes += Buffer.byteLength(JSON.stringify(document)) + 1;
    return bytes <= MAX_LIST_BYTES;
  });
  const missing = documents.length - fits.length;
  return { [key]: fits.toReversed(), ...(missing > 0 ? { [`${key}_left_out`]: missing } : {}) };
}
