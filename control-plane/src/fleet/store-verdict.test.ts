import { describe, expect, it } from "vitest";
import { judgeKnownStore } from "./store-verdict.ts";

const fence = { storeId: "ours", controllerTerm: 5n };

describe("judgeKnownStore", () => {
  it.each([
    ["knows none yet", "", 0n, false, "obey"],
    ["knows an older term of ours", "ours", 4n, false, "obey"],
    ["was told our term by this process", "ours", 5n, true, "obey"],
    ["knows our term from another process", "ours", 5n, false, "restored"],
    ["knows a newer term of ours", "ours", 6n, true, "restored"],
    ["obeys another store", "theirs", 1n, false, "unknown_store"],
    ["obeys a store that ours took the place of", "former", 99n, false, "obey"],
  ])("an agent that %s", (_what, storeId, controllerTerm, answeredBefore, expected) => {
    const verdict = judgeKnownStore({
      fence,
      adopted: new Set(["former"]),
      known: { storeId, controllerTerm },
      answeredBefore,
    });
    expect(verdict.kind === "observe" ? verdict.cause : verdict.kind).toBe(expected);
  });
});
