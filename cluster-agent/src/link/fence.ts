/** The control-plane store that the agent obeys, and the highest term seen from it. */
export interface KnownFence {
  readonly storeId: string;
  readonly controllerTerm: bigint;
}

/** What the control-plane that answered says of itself. */
export interface OfferedFence extends KnownFence {
  /** Stores whose place it has taken by an operator's decision. */
  readonly adoptedStoreIds: readonly string[];
}

/** `obey`: orders of that store count. `observe`: the agent reports and changes nothing. */
export type LinkMode = "obey" | "observe";

/** What to do with the control-plane that answered. */
export type FenceVerdict =
  | { readonly kind: "obey"; readonly known: KnownFence }
  | { readonly kind: "observe"; readonly why: string }
  | { readonly kind: "refuse"; readonly why: string };

/**
 * Judges the fence of a registration's answer. The first store that answers is obeyed from then on, and
 * after it a store that has taken its place; any other is only observed, and so is an older term of the
 * known one, which was restored from an older copy.
 */
export function judgeFence(known: KnownFence | undefined, offered: OfferedFence): FenceVerdict {
  const { storeId, controllerTerm, adoptedStoreIds } = offered;
  if (storeId === "") return { kind: "refuse", why: "fence.store_id: expected a UUID" };
  if (known === undefined) return { kind: "obey", known: { storeId, controllerTerm } };
  if (known.storeId !== storeId) {
    if (adoptedStoreIds.includes(known.storeId)) {
      return { kind: "obey", known: { storeId, controllerTerm } };
    }
    const why = `the control-plane's store ${storeId} is not the known ${known.storeId}; \`berth fleet adopt\` takes its place`;
    return { kind: "observe", why };
  }
  if (controllerTerm < known.controllerTerm) {
    const why = `controller term ${controllerTerm} is older than ${known.controllerTerm}: the control-plane's store was restored from an older copy; \`berth fleet adopt\` makes it a store of its own`;
    return { kind: "observe", why };
  }
  return { kind: "obey", known: { storeId, controllerTerm } };
}

/** Fence of an order. */
export type OrderFence = KnownFence;

/** Why an order does not count now; undefined when it does. */
export function judgeOrder(
  fence: OrderFence | undefined,
  now: { readonly mode: LinkMode; readonly known: KnownFence | undefined },
): { readonly reason: "PRECONDITION_FAILED" | "CONFLICT"; readonly message: string } | undefined {
  const { mode, known } = now;
  if (mode === "observe" || known === undefined) {
    const message =
      "the agent only observes this control-plane's store; `berth fleet adopt` makes it obey";
    return { reason: "PRECONDITION_FAILED", message };
  }
  if (fence?.storeId !== known.storeId) {
    const message = `fence.store_id: expected ${known.storeId}, got ${fence?.storeId ?? "nothing"}; \`berth fleet adopt\` lets one store take the place of another`;
    return { reason: "PRECONDITION_FAILED", message };
  }
  if (fence.controllerTerm < known.controllerTerm) {
    const message = `fence.controller_term: ${fence.controllerTerm} is older than ${known.controllerTerm}`;
    return { reason: "CONFLICT", message };
  }
  return undefined;
}
