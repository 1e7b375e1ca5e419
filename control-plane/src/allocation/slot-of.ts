/**
 * Slot of the GPU at a place of its node's list, as placements name it: a decimal string. Clusters without an agent
 * may write ids as numbers, or none at all; those without one are numbered by their place.
 */
export function slotOf(gpu: { readonly id?: unknown }, index: number): string {
  const { id } = gpu;
  return typeof id === "string" || typeof id === "number" ? String(id) : String(index);
}
