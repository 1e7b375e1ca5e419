import type { ClusterView } from "../fleet/cluster-view.ts";
import type { GpuAmounts } from "../org/quotas/gpu-amounts.ts";
import { slotOf } from "./slot-of.ts";

const MILLI = 1_000;

/** The GPUs at these slots of a node by flavor, in thousandths: a flavor is the model's name. Slots that are not there count for none. */
export function heldGpus(
  view: Pick<ClusterView, "document"> | undefined,
  { nodeId, gpus: slots }: { readonly nodeId: string; readonly gpus: readonly string[] },
): GpuAmounts {
  const nodes = view?.document.nodes.nodeData ?? [];
  const all = nodes.find(({ id }) => id === nodeId)?.gpus?.gpus ?? [];
  const held = all.filter((gpu, index) => slots.includes(slotOf(gpu, index)));
  const flavors = Map.groupBy(held, ({ modelName }) => modelName);
  return Object.fromEntries([...flavors].map(([flavor, some]) => [flavor, some.length * MILLI]));
}
