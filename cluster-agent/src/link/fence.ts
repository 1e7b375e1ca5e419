/** The control-plane store that the agent obeys, and the highest term seen from it. */
export interface KnownFence {
  readonly storeId: string;
  readonly controllerTerm: bigint;
}

/** `obey`: orders of that store count. `observe`: the agent reports and changes nothing. */
export type LinkMode = "obey" | "observe";

/** What to do with the control-plane that answered. */
export type FenceVerdict =
  | { readonly kind: "obey"; readonly known: KnownFence }
  | { readonly kind: "observe"; readonly why: string }
  | { readonly kind: "refuse"; readonly why: string };

/**
 * Judges the fence of a registration's answer. The first store that answers is obeyed from then on; an
 * older term of it is a control-plane of the past and refused; another store is only observed.
 */
export function judgeFence(known: KnownFence | undefined, offered: KnownFence): FenceVerdict {
  if (offered.storeId === "") return { kind: "refuse", why: "fence.store_id: expected a UUID" };
  if (known !== undefined && known.storeId !== offered.storeId) {
    const why = `the control-plane's store ${offered.storeId} is not the known ${known.storeId}`;
    return { kind: "observe", why };
  }
  if (known !== undefined && offered.controllerTerm < known.controllerTerm) {
    const why = `controller term ${offered.controllerTerm} is older than ${known.controllerTerm}`;
    return { kind: "refuse", why };
  }
  return { kind: "obey", known: offered };
}
