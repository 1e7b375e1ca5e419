import { describe, expect, it } from "vitest";
import { judgeKnownStore, type KnownTerms } from "./store-verdict.ts";

const fence = { storeId: "ours", controllerTerm: 5n, termId: "t5" };

/** Terms 3 to 5 are ours; "c4", "c5" and "c6" were given by another copy. Term 4's start was cut short. */
const terms: KnownTerms = {
  oldest: 3n,
  idOf: (term) =>
    new Map([
      [3n, "t3"],
      [5n, "t5"],
    ]).get(term),
  isProven: (term, termId) => termId === `t${term}` || termId === `c${term}`,
};

describe("judgeKnownStore", () => {
  it.each([
    ["knows none yet", "", 0n, "", "obey"],
    ["knows an older term of ours", "ours", 3n, "t3", "obey"],
    ["knows our own term", "ours", 5n, "t5", "obey"],
    ["knows a term that our memory does not reach back to", "ours", 2n, "t2", "obey"],
    ["knows such a term without proof", "ours", 2n, "junk", "obey"],
    ["is of an older version and knows numbers only", "ours", 5n, "", "obey"],
    ["obeys a store that ours took the place of", "former", 99n, "junk", "obey"],
    ["knows a newer term of another copy", "ours", 6n, "c6", "restored"],
    ["knows another copy's id of our own term", "ours", 5n, "c5", "restored"],
    ["knows another copy's id of an older term", "ours", 3n, "c3", "restored"],
    ["knows a term of another copy that we never gave", "ours", 4n, "c4", "restored"],
    ["claims a huge term without an id", "ours", 2n ** 53n - 1n, "", "contradicts"],
    ["claims a newer term with a made-up id", "ours", 6n, "junk", "contradicts"],
    ["shows the id of another number", "ours", 6n, "t5", "contradicts"],
    ["claims another id for a term of ours", "ours", 3n, "junk", "contradicts"],
    ["claims an id for a term that we never gave", "ours", 4n, "junk", "contradicts"],
    ["obeys another store", "theirs", 1n, "c6", "unknown_store"],
  ])("an agent that %s", (_what, storeId, controllerTerm, termId, expected) => {
    const verdict = judgeKnownStore({
      fence,
      adopted: new Set(["former"]),
      known: { storeId, controllerTerm, termId },
      terms,
    });
    expect(verdict.kind === "observe" ? verdict.cause : verdict.kind).toBe(expected);
  });
});
