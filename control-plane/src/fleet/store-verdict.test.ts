import { describe, expect, it } from "vitest";
import { judgeKnownStore, type KnownTerms } from "./store-verdict.ts";
import { termIdOf } from "./term-id.ts";

const [key, otherKey] = [Buffer.from("ours"), Buffer.from("theirs")];
const [start, copysStart] = ["0".repeat(36), "1".repeat(36)];
/** Stretches 11 to 13 are ours; number 13 is the newest. */
const own = (number: number) => termIdOf(key, { number, start });
const ofCopy = (number: number) => termIdOf(key, { number, start: copysStart });
const madeUp = (number: number) => termIdOf(otherKey, { number, start });

const fence = { storeId: "ours", controllerTerm: 5n, termId: own(13) };
const ours = new Set([11, 12, 13].map(own));
const proven = new Set([...ours, own(14), ...[10, 12, 13, 14].map(ofCopy)]);
const terms: KnownTerms = {
  oldest: 11,
  gave: (termId) => ours.has(termId),
  isProven: (termId) => proven.has(termId),
};

describe("judgeKnownStore", () => {
  it.each([
    ["knows none yet", "", 0n, "", "obey"],
    ["knows an older stretch of ours", "ours", 3n, own(11), "obey"],
    ["knows our newest stretch", "ours", 5n, own(13), "obey"],
    ["knows a stretch that our memory does not reach back to", "ours", 2n, ofCopy(10), "obey"],
    ["knows such a stretch without proof", "ours", 2n, madeUp(10), "obey"],
    ["is of an older version and knows numbers only", "ours", 5n, "", "obey"],
    ["obeys a store that ours took the place of", "former", 99n, "junk", "obey"],
    ["knows a later stretch of another copy, in a newer term", "ours", 6n, ofCopy(14), "restored"],
    [
      "knows a later one of our own start, of which ours is a copy",
      "ours",
      5n,
      own(14),
      "restored",
    ],
    ["knows one in our own term", "ours", 5n, ofCopy(14), "restored"],
    ["knows another copy's id of our newest stretch", "ours", 5n, ofCopy(13), "restored"],
    ["knows another copy's id of an older one", "ours", 3n, ofCopy(12), "restored"],
    ["claims a huge term without an id", "ours", 2n ** 53n - 1n, "", "contradicts"],
    ["claims a newer term with a made-up id", "ours", 6n, madeUp(14), "contradicts"],
    ["claims a newer term with an id of ours", "ours", 6n, own(13), "contradicts"],
    ["claims a newer term with an id before our memory", "ours", 6n, ofCopy(10), "contradicts"],
    ["claims another id for a stretch of ours", "ours", 3n, madeUp(12), "contradicts"],
    ["claims what is no id", "ours", 4n, "junk", "contradicts"],
    ["obeys another store", "theirs", 1n, ofCopy(14), "unknown_store"],
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
