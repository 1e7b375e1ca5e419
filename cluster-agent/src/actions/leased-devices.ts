import type { BlockEntry } from "../blocks/block-entry.ts";
import { requestedPolicy, requestedResources } from "../blocks/entry-reading.ts";
import type { Claim } from "../ledger/claim.ts";

/**
 * What the devices of a lease lack for an instance of a block, for people; undefined when they are enough. A share is never
 * enough for one that gets whole devices: the ledger would give the rest of the device to somebody else. How many there are
 * is the word of the block's policy, where it has one.
 */
export function lackingDevices(
  entry: BlockEntry,
  { devices }: Pick<Claim, "devices">,
): string | undefined {
  const { gpus, gpuMemoryMiB } = requestedResources(entry);
  const small = devices.find(({ memoryMiB }) => {
    return memoryMiB !== undefined && (gpuMemoryMiB === undefined || memoryMiB < gpuMemoryMiB);
  });
  if (small !== undefined) {
    const wanted = gpuMemoryMiB === undefined ? "the whole of it" : `${gpuMemoryMiB} MiB of it`;
    return `${small.memoryMiB} MiB of ${small.uuid}, expected ${wanted}`;
  }
  const hasPolicy = requestedPolicy(entry, "resourceAllocator") !== undefined;
  if (hasPolicy || devices.length >= gpus) return undefined;
  return `${devices.length} GPUs, expected ${gpus} for an instance of the block`;
}
