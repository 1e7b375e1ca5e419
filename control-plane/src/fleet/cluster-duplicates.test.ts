import { describe, expect, it } from "vitest";
import { duplicateRefusal } from "./cluster-duplicates.ts";

describe("duplicateRefusal", () => {
  it.each([
    ["wait", "UNAVAILABLE", "the other agent of cluster c1 may still be there; try again"],
    ["duplicate", "ALREADY_EXISTS", "`berth pick cluster c1`"],
    ["refused", "ALREADY_EXISTS", "an operator has picked another agent"],
  ] as const)("answers %s with %s", (verdict, reason, message) => {
    const refusal = duplicateRefusal("c1", verdict);
    expect(refusal?.reason).toBe(reason);
    expect(refusal?.message).toContain(message);
  });
});
