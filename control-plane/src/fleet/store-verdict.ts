/** Store and term that a control-plane works under. */
export interface StoreFence {
  readonly storeId: string;
  readonly controllerTerm: bigint;
}

/** What an agent told that it knew when it registered. */
export interface KnownStore {
  /** Store that the agent last obeyed; empty at first. */
  readonly storeId: string;
  /** Highest term that the agent has seen from it. */
  readonly controllerTerm: bigint;
}

/** Whether an agent obeys this control-plane, as the control-plane sees it. */
export type StoreVerdict =
  | { readonly kind: "obey" }
  | {
      readonly kind: "observe";
      /** `unknown_store`: the agent obeys another store. `restored`: ours is older than what the agent has seen of it. */
      readonly cause: "unknown_store" | "restored";
      readonly why: string;
    };

/** What {@link judgeKnownStore} looks at. */
export interface StoreFacts {
  readonly fence: StoreFence;
  readonly adopted: ReadonlySet<string>;
  readonly known: KnownStore;
  /** Whether this process has told the agent its fence before. */
  readonly answeredBefore: boolean;
}

/**
 * Judges what an agent knew. A term is raised at each start, so an agent that knows our own term although
 * this process never told it has it from a process on a newer copy of this store.
 */
export function judgeKnownStore({
  fence,
  adopted,
  known,
  answeredBefore,
}: StoreFacts): StoreVerdict {
  if (known.storeId === "" || adopted.has(known.storeId)) return { kind: "obey" };
  if (known.storeId !== fence.storeId) {
    const why = `the agent obeys the store ${known.storeId}, this is ${fence.storeId}; \`berth fleet adopt\` takes its place`;
    return { kind: "observe", cause: "unknown_store", why };
  }
  const isNewer = known.controllerTerm > fence.controllerTerm;
  const isForeign = known.controllerTerm === fence.controllerTerm && !answeredBefore;
  if (!isNewer && !isForeign) return { kind: "obey" };
  const why = `the agent has seen term ${known.controllerTerm} of this store, which is at ${fence.controllerTerm}: it was restored from an older copy; \`berth fleet adopt\` makes it a store of its own`;
  return { kind: "observe", cause: "restored", why };
}
