import { describe, expect, it } from "vitest";
import { judgeFence, judgeOrder, renewedFence } from "./fence.ts";

const known = { storeId: "s1", controllerTerm: 5n, termId: "t5" };
const unnamed = { ...known, termId: "" };

/** The known control-plane, but for what is told. */
function offer(overrides: Partial<Parameters<typeof judgeFence>[1]> = {}) {
  return { ...known, adoptedStoreIds: [], observeReason: "", ...overrides };
}

describe("judgeFence", () => {
  it.each([
    ["obeys the first store it meets", undefined, offer(), known],
    ["obeys the same term of the known store", known, offer(), known],
    [
      "obeys a newer term of the known store, by its own name",
      known,
      offer({ controllerTerm: 6n, termId: "t6" }),
      { storeId: "s1", controllerTerm: 6n, termId: "t6" },
    ],
    [
      "forgets the name of the known term with a newer one that has none",
      known,
      offer({ controllerTerm: 6n, termId: "" }),
      { storeId: "s1", controllerTerm: 6n, termId: "" },
    ],
    ["keeps the name of a term that is offered without", known, offer({ termId: "" }), known],
    ["learns the name of a term that it knew without", unnamed, offer(), known],
    [
      "takes the newer name of the known term",
      known,
      offer({ termId: "t5-later" }),
      { ...known, termId: "t5-later" },
    ],
    [
      "obeys a store that took the place of the known one",
      known,
      offer({ storeId: "s2", controllerTerm: 1n, termId: "u1", adoptedStoreIds: ["s3", "s1"] }),
      { storeId: "s2", controllerTerm: 1n, termId: "u1" },
    ],
  ])("%s", (_what, before, offered, after) => {
    expect(judgeFence(before, offered)).toEqual({ kind: "obey", known: after });
  });

  it.each([
    ["an older term of the known store", offer({ controllerTerm: 4n }), "restored"],
    ["another store, whatever its term", offer({ storeId: "s2", controllerTerm: 9n }), "s2"],
    [
      "a store that took the place of others",
      offer({ storeId: "s2", adoptedStoreIds: ["s3"] }),
      "`berth fleet adopt`",
    ],
    [
      "one that says so itself, also with a newer term",
      offer({ controllerTerm: 6n, termId: "t6", observeReason: "never gave t5" }),
      "never gave t5",
    ],
  ])("only observes %s", (_what, offered, why) => {
    const verdict = judgeFence(known, offered);
    expect(verdict).toMatchObject({ kind: "observe", why: expect.stringContaining(why) });
    expect(verdict).not.toHaveProperty("known");
  });

  it("only observes the first one it meets when that one says so itself", () => {
    const offered = offer({ observeReason: "r".repeat(5_000) });
    expect(judgeFence(undefined, offered)).toEqual({ kind: "observe", why: "r".repeat(1_000) });
  });

  it.each([
    ["without a store", { storeId: "" }, "fence.store_id"],
    ["with a term id that is too long", { termId: "t".repeat(129) }, "fence.term_id"],
  ])("refuses a control-plane %s", (_what, overrides, field) => {
    const verdict = judgeFence(undefined, offer(overrides));
    expect(verdict).toMatchObject({ kind: "refuse", why: expect.stringContaining(field) });
  });

  it("takes a term id of 128 characters", () => {
    expect(judgeFence(undefined, offer({ termId: "t".repeat(128) })).kind).toBe("obey");
  });
});

describe("judgeOrder", () => {
  it.each([
    ["the known term", "obey", known, known, undefined],
    ["a newer term", "obey", known, { ...known, controllerTerm: 6n, termId: "t6" }, undefined],
    ["an older term", "obey", known, { ...known, controllerTerm: 4n }, "CONFLICT"],
    ["the known term by another name", "obey", known, { ...known, termId: "t5-later" }, undefined],
    ["the known number without a name", "obey", known, unnamed, undefined],
    ["the known number, known without a name", "obey", unnamed, known, undefined],
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

describe("renewedFence", () => {
  const later = { ...known, termId: "t5-later" };

  it("is the known fence by its newest name", () => {
    expect(renewedFence(later, { mode: "obey", known })).toEqual(later);
    expect(renewedFence(known, { mode: "obey", known: unnamed })).toEqual(known);
  });

  it.each([
    ["while the agent only observes", later, { mode: "observe", known }],
    ["before a store is known", later, { mode: "obey", known: undefined }],
    ["without a fence", undefined, { mode: "obey", known }],
    ["without a fence or a known store", undefined, { mode: "obey", known: undefined }],
    ["of another store", { ...later, storeId: "s2" }, { mode: "obey", known }],
    ["of an older term", { ...later, controllerTerm: 4n }, { mode: "obey", known }],
    ["of a newer term", { ...later, controllerTerm: 6n }, { mode: "obey", known }],
    ["without a name", unnamed, { mode: "obey", known }],
    ["by the known name", known, { mode: "obey", known }],
    ["by a name that is too long", { ...known, termId: "t".repeat(129) }, { mode: "obey", known }],
  ] as const)("is nothing %s", (_what, told, now) => {
    expect(renewedFence(told, now)).toBeUndefined();
  });
});
