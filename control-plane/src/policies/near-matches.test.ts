import { describe, expect, it } from "vitest";
import { editDistance, nearMatches } from "./near-matches.ts";

const KNOWN = [
  "least-loaded:1.0.0-stable",
  "least-loaded:2.0.0-stable",
  "first-free:1.0.0-stable",
  "rank:1-t",
  "ab:1-t",
];

describe("nearMatches", () => {
  it.each([
    [
      "swapped letters",
      "laest-loaded:1.0.0-stable",
      ["least-loaded:1.0.0-stable", "least-loaded:2.0.0-stable"],
    ],
    [
      "two pairs of them",
      "laest-loadde:2.0.0-stable",
      ["least-loaded:2.0.0-stable", "least-loaded:1.0.0-stable"],
    ],
    ["a missing letter", "first-fre:1.0.0-stable", ["first-free:1.0.0-stable"]],
    ["a letter too many", "rankk:1-t", ["rank:1-t"]],
    ["another version", "rank:7-beta", ["rank:1-t"]],
    ["capital letters", "AB:1-T", ["ab:1-t"]],
    [
      "capital letters beside a letter too many",
      "LEAST-LOADEDD:2.0.0-STABLE",
      ["least-loaded:2.0.0-stable", "least-loaded:1.0.0-stable"],
    ],
    ["no version", "first-free", ["first-free:1.0.0-stable"]],
    [
      "another sign between name and version",
      "first-free-1.0.0-stable",
      ["first-free:1.0.0-stable"],
    ],
    [
      "a third of a long name",
      "least-lodad:1.0.0-stable",
      ["least-loaded:1.0.0-stable", "least-loaded:2.0.0-stable"],
    ],
  ])("finds %s", (_what, asked, found) => {
    expect(nearMatches(asked, KNOWN)).toEqual(found);
  });

  it.each([
    ["another name with the same version", "nope:1.0.0-stable"],
    ["a name of which half is another", "cd:1-t"],
    ["nothing", ""],
    ["a text that is too long to be one", "least-loaded".repeat(100)],
  ])("finds nothing near %s", (_what, asked) => {
    expect(nearMatches(asked, KNOWN)).toEqual([]);
  });

  it("names five at most, the closest first", () => {
    const known = ["abcdef:1-t", "abcdxx:1-t", ...[1, 2, 3, 4, 5].map((n) => `abcdex:${n}-t`)];
    const found = nearMatches("abcdef:9-t", known);
    expect(found.length).toBe(5);
    expect(found[0]).toBe("abcdef:1-t");
    expect(found).not.toContain("abcdxx:1-t");
  });

  it("looks through 10,000 names in a moment", () => {
    const known = Array.from({ length: 10_000 }, (_, n) => `policy-of-team-${n}:1.0.0-stable`);
    const startedAt = process.cpuUsage();
    expect(nearMatches("policy-of-team-77x7:1.0.0-stable", known).length).toBe(5);
    expect(process.cpuUsage(startedAt).user / 1_000).toBeLessThan(500);
  });
});

describe("editDistance", () => {
  it.each([
    ["", "", 0],
    ["", "abc", 3],
    ["abc", "", 3],
    ["abc", "abc", 0],
    ["abc", "acb", 1],
    ["ab", "ba", 1],
    ["abc", "axc", 1],
    ["abcd", "acd", 1],
    ["ca", "abc", 3],
    ["kitten", "sitting", 3],
  ])("between %j and %j is %i, both ways", (one, other, distance) => {
    for (const limit of [distance, distance + 1, 9]) {
      expect(editDistance(one, other, limit)).toBe(distance);
      expect(editDistance(other, one, limit)).toBe(distance);
    }
    expect(editDistance(one, other, distance - 1)).toBe(Number.POSITIVE_INFINITY);
  });
});
