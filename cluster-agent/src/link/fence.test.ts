import { describe, expect, it } from "vitest";
import { judgeFence } from "./fence.ts";

const known = { storeId: "s1", controllerTerm: 5n };

describe("judgeFence", () => {
  it.each([
    ["obeys the first store it meets", undefined, "s1", 1n, "obey"],
    ["obeys the same term of the known store", known, "s1", 5n, "obey"],
    ["obeys a newer term of the known store", known, "s1", 6n, "obey"],
    ["refuses an older term of the known store", known, "s1", 4n, "refuse"],
    ["only observes another store, whatever its term", known, "s2", 9n, "observe"],
    ["refuses a control-plane without a store", undefined, "", 1n, "refuse"],
  ])("%s", (_what, before, storeId, controllerTerm, kind) => {
    expect(judgeFence(before, { storeId, controllerTerm }).kind).toBe(kind);
  });
});
