import { describe, expect, it } from "vitest";
import { judgeFence, judgeOrder } from "./fence.ts";

const known = { storeId: "s1", controllerTerm: 5n };

describe("judgeFence", () => {
  it.each([
    ["obeys the first store it meets", undefined, "s1", 1n, [], "obey"],
    ["obeys the same term of the known store", known, "s1", 5n, [], "obey"],
    ["obeys a newer term of the known store", known, "s1", 6n, [], "obey"],
    ["only observes an older term of the known store", known, "s1", 4n, [], "observe"],
    ["only observes another store, whatever its term", known, "s2", 9n, [], "observe"],
    ["only observes a store that took the place of others", known, "s2", 9n, ["s3"], "observe"],
    ["obeys a store that took the place of the known one", known, "s2", 1n, ["s3", "s1"], "obey"],
    ["refuses a control-plane without a store", undefined, "", 1n, [], "refuse"],
  ])("%s", (_what, before, storeId, controllerTerm, adoptedStoreIds, kind) => {
    expect(judgeFence(before, { storeId, controllerTerm, adoptedStoreIds }).kind).toBe(kind);
  });
});

describe("judgeOrder", () => {
  it.each([
    ["the known term", "obey", known, known, undefined],
    ["a newer term", "obey", known, { ...known, controllerTerm: 6n }, undefined],
    ["an older term", "obey", known, { ...known, controllerTerm: 4n }, "CONFLICT"],
    ["another store", "obey", known, { ...known, storeId: "s2" }, "PRECONDITION_FAILED"],
    ["no fence", "obey", known, undefined, "PRECONDITION_FAILED"],
    ["the known term while observing", "observe", known, known, "PRECONDITION_FAILED"],
    ["any before a store is known", "obey", undefined, known, "PRECONDITION_FAILED"],
  ] as const)("judges an order of %s", (_what, mode, before, fence, reason) => {
    expect(judgeOrder(fence, { mode, known: before })?.reason).toBe(reason);
  });

  it("says how an observing agent is made to obey", () => {
    const refusal = judgeOrder(known, { mode: "observe", known });
    expect(refusal?.message).toContain("`berth fleet adopt`");
  });
});
