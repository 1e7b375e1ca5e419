import { BerthError, isJsonObject, toNumber, typeName } from "@berth/service-kit";

/** Longest id of a block that is looked at; clusters take shorter ones. */
const MAX_ID_CHARACTERS = 253;

/** What a block needs at its creation, as far as its entry says so. */
export interface BlockNeed {
  /** Instances that are made with the block; may be 0. */
  readonly planned: number;
  /** Instances that there must be room for: at least one. */
  readonly instances: number;
  /** GPUs of one instance. */
  readonly gpus: number;
  /** It takes GPUs whole. */
  readonly isWhole: boolean;
  /** MiB of one instance. */
  readonly memoryMiB: number;
}

/**
 * What the entry of a block says that its instances need. What is not readable counts as nothing: it is the clusters
 * that check entries.
 */
export function blockNeed(entry: Readonly<Record<string, unknown>>): BlockNeed {
  const resources = isJsonObject(entry.resources) ? entry.resources : {};
  const allocator = resourceAllocator(entry);
  const planned = bound(entry.minInstances) ?? Math.min(1, bound(entry.maxInstances) ?? 1);
  return {
    ...{ planned, instances: Math.max(1, planned) },
    gpus: allocator.decides ? 0 : (amount(resources.gpus) ?? allocator.gpus),
    isWhole: resources.gpuMemoryMiB === undefined,
    memoryMiB: amount(resources.memoryMiB) ?? 0,
  };
}

/** The id of an entry; INVALID_ARGUMENT names `field` when it has none. The rules for ids are those of the clusters. */
export function blockIdOf(entry: Readonly<Record<string, unknown>>, field = "id"): string {
  const { id } = entry;
  if (typeof id === "string" && id.length > MAX_ID_CHARACTERS) {
    const message = `${field}: expected at most ${MAX_ID_CHARACTERS} characters, got ${id.length}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  if (typeof id === "string" && id !== "") return id;
  const got = id === undefined ? "nothing" : id === "" ? "an empty text" : typeName(id);
  throw new BerthError("INVALID_ARGUMENT", `${field}: expected the id of the block, got ${got}`);
}

/** How many GPUs a block gets that has a policy for it is the policy's affair. */
function resourceAllocator({ policies }: Readonly<Record<string, unknown>>) {
  const policy = isJsonObject(policies) ? policies.resourceAllocator : undefined;
  const uri = isJsonObject(policy) ? policy.policyRuleURI : policy;
  const parameters = isJsonObject(policy) ? policy.parameters : undefined;
  const gpus = isJsonObject(parameters) ? bound(parameters.gpus) : undefined;
  return { decides: typeof uri === "string" && uri !== "", gpus: gpus ?? 0 };
}

function bound(value: unknown): number | undefined {
  return typeof value === "string" && /^\d{1,9}$/.test(value) ? Number(value) : amount(value);
}

function amount(value: unknown): number | undefined {
  const number = toNumber(value);
  return number !== undefined && Number.isSafeInteger(number) && number >= 0 ? number : undefined;
}
