/** Store and term that a control-plane works under. */
export interface StoreFence {
  readonly storeId: string;
  readonly controllerTerm: bigint;
  /** Id of the term, with the store's proof that it gave it. */
  readonly termId: string;
}

/** What an agent told that it knew when it registered. */
export interface KnownStore {
  /** Store that the agent last obeyed; empty at first. */
  readonly storeId: string;
  /** Highest term that the agent has seen from it. */
  readonly controllerTerm: bigint;
  /** Id of that term; empty at first, and from agents of older versions. */
  readonly termId: string;
}

/** The terms that this store has given. */
export interface KnownTerms {
  /** Lowest term whose id is still known. */
  readonly oldest: bigint;
  /** Id that this store gave to a term; undefined when it gave none, or it is not known any more. */
  idOf(term: bigint): string | undefined;
  /** Whether some copy of this store has given this id to the term, whichever copy it was. */
  isProven(term: bigint, termId: string): boolean;
}

/** Whether an agent obeys this control-plane, as the control-plane sees it. */
export type StoreVerdict =
  | { readonly kind: "obey" }
  | {
      readonly kind: "observe";
      /**
       * `unknown_store`: the agent obeys another store. `restored`: the agent has proof of a term that
       * another copy of our store gave, so ours is a restored one. `contradicts`: the agent claims a term
       * of our store without proof, and we know better.
       */
      readonly cause: "unknown_store" | "restored" | "contradicts";
      readonly why: string;
    };

/** What {@link judgeKnownStore} looks at. */
export interface StoreFacts {
  readonly fence: StoreFence;
  readonly adopted: ReadonlySet<string>;
  readonly known: KnownStore;
  readonly terms: KnownTerms;
}

/**
 * Judges what an agent knew. Numbers alone prove nothing: a restored store comes to the same ones by its
 * own starts, and an agent can claim any. What only another copy of this store can have told is proof.
 */
export function judgeKnownStore({ fence, adopted, known, terms }: StoreFacts): StoreVerdict {
  const { storeId, controllerTerm: term, termId } = known;
  if (storeId === "" || adopted.has(storeId)) return { kind: "obey" };
  if (storeId !== fence.storeId) {
    const why = `the agent obeys the store ${storeId}, this is ${fence.storeId}; \`berth fleet adopt\` takes its place`;
    return { kind: "observe", cause: "unknown_store", why };
  }
  // What is older than our memory cannot be told from a term of ours.
  if (term < terms.oldest) return { kind: "obey" };
  const isOlderVersion = termId === "" && term <= fence.controllerTerm;
  if (isOlderVersion || (termId !== "" && termId === terms.idOf(term))) return { kind: "obey" };
  if (terms.isProven(term, termId)) {
    const why = `the agent has obeyed a term ${term} that another copy of this store gave; this one is at ${fence.controllerTerm}: it was restored from an older copy; \`berth fleet adopt\` makes it a store of its own`;
    return { kind: "observe", cause: "restored", why };
  }
  const why = `the agent claims a term ${term} of this store, which is at ${fence.controllerTerm}, without proof that it was ever given; if you trust the agent, \`berth fleet adopt\` gives this store a new id that it obeys`;
  return { kind: "observe", cause: "contradicts", why };
}
