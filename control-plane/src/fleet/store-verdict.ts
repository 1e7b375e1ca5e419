import { stretchOf } from "./term-id.ts";

/** Store and term that a control-plane works under. */
export interface StoreFence {
  readonly storeId: string;
  readonly controllerTerm: bigint;
  /** Id of the term's newest stretch, with the store's proof that it gave it. */
  readonly termId: string;
}

/** What an agent told that it knew when it registered. */
export interface KnownStore {
  /** Store that the agent last obeyed; empty at first. */
  readonly storeId: string;
  /** Highest term that the agent has seen from it. */
  readonly controllerTerm: bigint;
  /** Newest id that it was told; empty at first, and from agents of older versions. */
  readonly termId: string;
}

/** The stretches of its terms that this store has named, numbered over all terms. */
export interface KnownTerms {
  /** Lowest stretch that is still remembered. */
  readonly oldest: number;
  /** Whether this store has given this id, as far as it remembers. */
  gave(termId: string): boolean;
  /** Whether some copy of this store has given this id, whichever copy it was. */
  isProven(termId: string): boolean;
}

/** Whether an agent obeys this control-plane, as the control-plane sees it. */
export type StoreVerdict =
  | { readonly kind: "obey" }
  | {
      readonly kind: "observe";
      /**
       * `unknown_store`: the agent obeys another store. `restored`: the agent has proof of what only another
       * copy of our store gave, so ours is a restored one. `contradicts`: the agent claims a term of our
       * store without proof, and we know better.
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
  const isId = termId !== "";
  const isOwn = isId && isOurs(terms, termId);
  if ((isOwn || !isId) && term <= fence.controllerTerm) return { kind: "obey" };
  // An id of ours that comes with a higher term than we gave proves nothing but that we gave it.
  if (!isOwn && terms.isProven(termId)) {
    const why = `the agent has obeyed another copy of this store (term ${term}; this one is at ${fence.controllerTerm}), which went on after this one was made: this one was restored from an older copy; \`berth fleet adopt\` makes it a store of its own`;
    return { kind: "observe", cause: "restored", why };
  }
  const why = `the agent claims a term ${term} of this store, which is at ${fence.controllerTerm}, without proof that it was ever given; if you trust the agent, \`berth fleet adopt\` gives this store a new id that it obeys`;
  return { kind: "observe", cause: "contradicts", why };
}

/** Whether this store gave an id, as far back as it remembers; what is older cannot be told from it. */
function isOurs(terms: KnownTerms, termId: string): boolean {
  const stretch = stretchOf(termId);
  return stretch !== undefined && (stretch.number < terms.oldest || terms.gave(termId));
}
