import type { CandidateView, DuplicatesView } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { descendsFromRefused, duplicateRefusal } from "./cluster-duplicates.ts";

const candidate = (instanceId: string, verdict: CandidateView["verdict"]): CandidateView => {
  return { instanceId, bootId: "", incarnation: 1, firstSeenAt: "now", verdict };
};

describe("descendsFromRefused", () => {
  const firstPicked: DuplicatesView = {
    state: "picked",
    candidates: [candidate("first", "picked"), candidate("copy", "refused")],
  };
  const copyPicked: DuplicatesView = {
    state: "picked",
    candidates: [candidate("first", "refused"), candidate("copy", "picked")],
  };

  it.each<[string, DuplicatesView, readonly string[], boolean]>([
    ["the picked first", firstPicked, ["first", "first2"], false],
    ["the refused copy of it", firstPicked, ["first", "copy", "copy2"], true],
    ["the picked copy, which was never answered before", copyPicked, ["first", "copy"], false],
    ["the picked copy, later", copyPicked, ["copy2", "copy3"], false],
    ["the refused first", copyPicked, ["first", "first2"], true],
    ["a stranger", firstPicked, ["other"], false],
    ["one without a past", firstPicked, [], false],
  ])("knows a start of %s", (_what, view, formerIds, expected) => {
    expect(descendsFromRefused(view, formerIds)).toBe(expected);
  });

  it("refuses nobody while nothing is decided", () => {
    const candidates = [candidate("first", "undecided"), candidate("copy", "undecided")];
    expect(descendsFromRefused({ state: "duplicate", candidates }, ["first"])).toBe(false);
  });
});

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
