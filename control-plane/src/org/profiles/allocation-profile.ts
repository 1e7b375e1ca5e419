import { BerthError, isJsonObject, jsonDepth, typeName } from "@berth/service-kit";
import { type GpuAmounts, readGpuAmounts } from "../quotas/gpu-amounts.ts";
import { readReplicas } from "../quotas/replica-count.ts";

/** What `allocation_info` of a quota says of its replicas: where they go, what each takes, and what is scaled. */
export interface AllocationProfile {
  /** Policy that places each new replica; absent: Berth chooses. */
  readonly policyRuleUri?: string;
  /** For that policy. */
  readonly parameters?: Readonly<Record<string, unknown>>;
  /** Ids of the clusters that may be used; absent: all, or those of `filter`. */
  readonly clusters?: readonly string[];
  /** MongoDB-style, over cluster documents. */
  readonly filter?: Readonly<Record<string, unknown>>;
  /** GPUs of each replica by flavor, thousandths: `{"H100": 1000}`; empty: nothing is charged. */
  readonly gpusPerReplica: GpuAmounts;
  /** The block whose instances the replicas are; absent: replicas are places. */
  readonly blockId?: string;
  /** The cluster of that block, where several have one of that id. */
  readonly clusterId?: string;
  /** Policy that picks the replicas that go; absent: the newest go first. */
  readonly victimPolicyRuleUri?: string;
  /** Bounds beside those of the quota. */
  readonly minReplicas?: number;
  readonly maxReplicas?: number;
}

/** What a plain label says: nothing is placed and nothing is charged. */
export const PLAIN_PROFILE: AllocationProfile = { gpusPerReplica: {} };

const TEXTS = {
  policy_rule_uri: "policyRuleUri",
  victim_policy_rule_uri: "victimPolicyRuleUri",
  block_id: "blockId",
  cluster_id: "clusterId",
} as const;
const OBJECTS = ["parameters", "filter"] as const;
const COUNTS = { min_replicas: "minReplicas", max_replicas: "maxReplicas" } as const;
const KEYS: readonly string[] = [
  ...Object.keys(TEXTS),
  ...OBJECTS,
  ...Object.keys(COUNTS),
  ...["clusters", "gpus_per_replica"],
];

const MAX_TEXT_CHARACTERS = 512;
const MAX_CLUSTERS = 10_000;
/** Its parameters and filter go into messages that nest deeper. */
const MAX_LEVELS = 32;

/**
 * The profile that a quota's `allocation_info` says: the JSON of an object that has one of its fields, or
 * {@link PLAIN_PROFILE} for any other text, as the seed's "gpu-allocation" or somebody's own JSON. INVALID_ARGUMENT names the
 * field that does not hold: it is asked before the text is kept.
 */
export function readProfile(allocationInfo: string, field = "allocation_info"): AllocationProfile {
  const body = objectOf(allocationInfo);
  if (body !== undefined && jsonDepth(body) > MAX_LEVELS) {
    throw invalid(`${field}: expected at most ${MAX_LEVELS} nested levels`);
  }
  if (body === undefined || !Object.keys(body).some((key) => KEYS.includes(key))) {
    return PLAIN_PROFILE;
  }
  const unknown = Object.keys(body).find((key) => !KEYS.includes(key));
  if (unknown !== undefined) {
    throw invalid(`${field}.${unknown.slice(0, 100)}: expected one of ${KEYS.join(", ")}`);
  }
  const texts = Object.entries(TEXTS).flatMap(([key, name]) =>
    told(body[key]) ? [[name, text(`${field}.${key}`, body[key])] as const] : [],
  );
  const objects = OBJECTS.flatMap((key) =>
    told(body[key]) ? [[key, object(`${field}.${key}`, body[key])] as const] : [],
  );
  const counts = Object.entries(COUNTS).flatMap(([key, name]) =>
    told(body[key]) ? [[name, readReplicas(`${field}.${key}`, body[key])] as const] : [],
  );
  const profile: AllocationProfile = {
    gpusPerReplica: readGpuAmounts(`${field}.gpus_per_replica`, body.gpus_per_replica) ?? {},
    ...Object.fromEntries([...texts, ...objects, ...counts]),
    ...(told(body.clusters) ? { clusters: clusterIds(`${field}.clusters`, body.clusters) } : {}),
  };
  checkTogether(field, profile);
  return profile;
}

/** An object that a text says; undefined for any other text, also one that only looks like JSON. */
function objectOf(allocationInfo: string): Readonly<Record<string, unknown>> | undefined {
  if (!allocationInfo.trimStart().startsWith("{")) return undefined;
  try {
    const value: unknown = JSON.parse(allocationInfo);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function checkTogether(field: string, profile: AllocationProfile): void {
  const { blockId, clusterId, clusters, filter, minReplicas = 0, maxReplicas } = profile;
  if (clusterId !== undefined && blockId === undefined) {
    throw invalid(`${field}.cluster_id: expected block_id beside it`);
  }
  if (clusters !== undefined && filter !== undefined) {
    throw invalid(`${field}.filter: expected nothing beside clusters`);
  }
  if (maxReplicas !== undefined && minReplicas > maxReplicas) {
    throw invalid(
      `${field}.min_replicas: expected at most max_replicas, ${maxReplicas}, got ${minReplicas}`,
    );
  }
}

function told(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function text(field: string, value: unknown): string {
  if (typeof value === "string" && value !== "" && value.length <= MAX_TEXT_CHARACTERS) {
    return value;
  }
  const got = typeof value === "string" ? `${value.length} characters` : typeName(value);
  throw invalid(`${field}: expected text of 1-${MAX_TEXT_CHARACTERS} characters, got ${got}`);
}

function object(field: string, value: unknown): Readonly<Record<string, unknown>> {
  if (isJsonObject(value)) return value;
  throw invalid(`${field}: expected an object, got ${typeName(value)}`);
}

function clusterIds(field: string, value: unknown): readonly string[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_CLUSTERS) {
    const got = Array.isArray(value) ? `${value.length} of them` : typeName(value);
    throw invalid(`${field}: expected a list of 1-${MAX_CLUSTERS} ids of clusters, got ${got}`);
  }
  return value.map((id: unknown, place) => text(`${field}.${place}`, id));
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
