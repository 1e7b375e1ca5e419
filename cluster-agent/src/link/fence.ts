/** Longest `term_id`. */
export const MAX_TERM_ID_CHARACTERS = 128;
const MAX_REASON_CHARACTERS = 1_000;

/** The control-plane store that the agent obeys, and the highest term seen from it. */
export interface KnownFence {
  readonly storeId: string;
  readonly controllerTerm: bigint;
  /** Names the newest stretch of the term that was told, for the control-plane to judge; "" when not known. */
  readonly termId: string;
}

/** What the control-plane that answered says of itself. */
export interface OfferedFence extends KnownFence {
  /** Stores whose place it has taken by an operator's decision. */
  readonly adoptedStoreIds: readonly string[];
  /** Why it wants to be observed only; "" when it may be obeyed. */
  readonly observeReason: string;
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
 * after it a store that has taken its place; any other is only observed. So is the known one when an older term
 * shows that it was restored from an older copy, and one that says itself that it shall not be obeyed: ids of
 * terms are renewed within a term, so only the control-plane can judge the one that the agent knows. Nothing
 * that is only observed becomes the known fence.
 */
export function judgeFence(known: KnownFence | undefined, offered: OfferedFence): FenceVerdict {
  const { storeId, controllerTerm, termId, adoptedStoreIds, observeReason } = offered;
  if (storeId === "") return { kind: "refuse", why: "fence.store_id: expected a UUID" };
  if (termId.length > MAX_TERM_ID_CHARACTERS) {
    const why = `fence.term_id: expected at most ${MAX_TERM_ID_CHARACTERS} characters, got ${termId.length}`;
    return { kind: "refuse", why };
  }
  if (observeReason !== "") {
    return { kind: "observe", why: observeReason.slice(0, MAX_REASON_CHARACTERS) };
  }
  const isKnownStore = known?.storeId === storeId;
  if (known !== undefined && !isKnownStore && !adoptedStoreIds.includes(known.storeId)) {
    const why = `the control-plane's store ${storeId} is not the known ${known.storeId}; \`berth fleet adopt\` takes its place`;
    return { kind: "observe", why };
  }
  if (!isKnownStore || controllerTerm > known.controllerTerm) {
    return { kind: "obey", known: { storeId, controllerTerm, termId } };
  }
  if (controllerTerm < known.controllerTerm) {
    const why = `controller term ${controllerTerm} is older than ${known.controllerTerm}: the control-plane's store was restored from an older copy; \`berth fleet adopt\` makes it a store of its own`;
    return { kind: "observe", why };
  }
  // A control-plane of an older version names no term: what is known of this one stays.
  return { kind: "obey", known: { storeId, controllerTerm, termId: termId || known.termId } };
}

/** Whom the agent obeys at the moment. */
export interface Authority {
  readonly mode: LinkMode;
  readonly known: KnownFence | undefined;
}

/**
 * The known fence with the term id that was told within its term, the newest one as ids are told in order.
 * Undefined when there is nothing to keep: the agent only observes, the store or the term is another one, or the
 * id is absent, too long, or known.
 */
export function renewedFence(
  told: OrderFence | undefined,
  { mode, known }: Authority,
): KnownFence | undefined {
  if (mode === "observe" || told?.storeId !== known?.storeId) return undefined;
  if (known === undefined || told?.controllerTerm !== known.controllerTerm) return undefined;
  const { termId } = told;
  const isNews = termId !== "" && termId !== known.termId;
  return isNews && termId.length <= MAX_TERM_ID_CHARACTERS ? { ...known, termId } : undefined;
}

/** Fence of an order. */
export type OrderFence = KnownFence;

/** Why an order does not count now; undefined when it does. */
export function judgeOrder(
  fence: OrderFence | undefined,
  now: Authority,
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
