import { parseLossless } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { readDecision } from "./decision.ts";

const read = (json: string) => readDecision(parseLossless(json), "decide");
const changesOf = (json: string) => {
  const decision = read(json);
  if (decision.kind !== "read") throw new Error(decision.reason);
  return decision.changes.map(({ subjectId, replicas }) => [subjectId, replicas]);
};

describe("the result of a workflow", () => {
  it("says replicas by subject, with or without a reason", () => {
    expect(read('{"a":3,"b":{"replicas":0,"reason":"idle","x":1},"c":100000}')).toEqual({
      kind: "read",
      changes: [
        { subjectId: "a", replicas: 3, reason: "" },
        { subjectId: "b", replicas: 0, reason: "idle" },
        { subjectId: "c", replicas: 100_000, reason: "" },
      ],
      refusals: [],
    });
  });

  it.each(["true", "false", "-1", "-0", "3.0", "3.5", "1e2", '"3"', "null", "[3]", "100001"])(
    "with %s replicas is refused for that subject alone",
    (value) => {
      for (const told of [value, `{"replicas":${value}}`]) {
        const decision = read(`{"bad":${told},"good":1}`);
        expect(decision).toMatchObject({
          changes: [{ subjectId: "good", replicas: 1 }],
          refusals: [{ subjectId: "bad" }],
        });
        const [refusal] = decision.kind === "read" ? decision.refusals : [];
        expect(refusal?.reason).toMatch(/^replicas: expected a whole number from 0 to 100000, got/);
      }
    },
  );

  it("that is no JSON number is refused, too", () => {
    const decision = readDecision({ a: Number.NaN, b: Number.POSITIVE_INFINITY, c: {} }, "s");
    expect(decision).toMatchObject({ changes: [], refusals: [{}, {}, { subjectId: "c" }] });
  });

  it("refuses subjects that cannot be", () => {
    const decision = read(`{"":1,"a/b":2,"${"x".repeat(300)}":3,"__proto__":4}`);
    expect(decision).toMatchObject({
      changes: [{ subjectId: "__proto__", replicas: 4 }],
      refusals: [{ subjectId: "" }, { subjectId: "a/b" }, { subjectId: "x".repeat(253) }],
    });
  });

  it.each(["null", "{}", '{"decide":{}}', '{"output":{}}'])("%s changes nothing", (json) => {
    expect(read(json)).toEqual({ kind: "read", changes: [], refusals: [] });
  });

  it.each(["[1]", '"text"', "3", "true", "[]"])("%s cannot be read", (json) => {
    expect(read(json)).toMatchObject({
      kind: "unreadable",
      reason: expect.stringMatching(/^result: expected an object/),
    });
  });

  it("of more subjects than an org has cannot be read", () => {
    const many = Object.fromEntries(Array.from({ length: 10_001 }, (_, n) => [`s${n}`, 1]));
    expect(readDecision(many, "s").kind).toBe("unreadable");
  });

  it.each([
    ['{"decide":{"a":1}}', [["a", 1]]],
    ['{"output":{"decide":{"a":1}},"previous_outputs":{"decide":{}}}', [["a", 1]]],
    ['{"output":{"a":1}}', [["a", 1]]],
    ['{"decide":3}', [["decide", 3]]],
    ['{"decide":{"replicas":3}}', [["decide", 3]]],
    [
      '{"output":3,"a":1}',
      [
        ["output", 3],
        ["a", 1],
      ],
    ],
    ['{"decide":{"a":1},"b":2}', [["b", 2]]],
    ['{"other":{"a":1}}', []],
  ])("%s is unwrapped only where it is unambiguous", (json, changes) => {
    expect(changesOf(json)).toEqual(changes);
  });
});
