import { describe, expect, it } from "vitest";
import { mapEntry, unknownHooks } from "./policy-map.ts";

const policy = { policyRuleUri: "p:1-s", parameters: {}, settings: {}, mode: "enforce" };

describe("mapEntry", () => {
  it.each([
    [undefined],
    [{}],
    [{ add_block: null }],
    [{ add_block: "" }],
    [{ add_block: { policyRuleURI: "" } }],
    [{ remove_block: "p:1-s" }],
  ])("finds nothing that governs in %j", (map) => {
    expect(mapEntry(map, "add_block")).toEqual({ kind: "none" });
  });

  it.each([
    [{ add_block: "p:1-s" }, policy],
    [{ add_block: { policyRuleURI: "p:1-s" } }, policy],
    [
      {
        add_block: {
          policyRuleURI: "p:1-s",
          parameters: { a: 1 },
          settings: { b: 2 },
          mode: "warn",
        },
      },
      { ...policy, parameters: { a: 1 }, settings: { b: 2 }, mode: "warn" },
    ],
  ])("reads %j", (map, expected) => {
    expect(mapEntry(map, "add_block")).toEqual({ kind: "policy", policy: expected });
  });

  it.each([
    [[], /actionsPolicyMap: expected an object, got array/],
    [{ add_block: 7 }, /add_block: expected a policy URI or an object, got number/],
    [{ add_block: { policy_rule_uri: "p:1-s" } }, /add_block.policyRuleURI: required field/],
    [{ add_block: { policyRuleURI: 7 } }, /add_block.policyRuleURI: expected a text, got number/],
    [{ add_block: "p".repeat(513) }, /add_block.policyRuleURI: expected at most 512 characters/],
    [
      { add_block: { policyRuleURI: "p", parameters: [] } },
      /add_block.parameters: expected an object, got array/,
    ],
    [
      { add_block: { policyRuleURI: "p", mode: "off" } },
      /add_block.mode: expected one of enforce, warn, audit/,
    ],
  ])("cannot read %j, and says where", (map, why) => {
    expect(mapEntry(map, "add_block")).toEqual({
      kind: "unreadable",
      why: expect.stringMatching(why),
    });
  });

  it("knows which keys name no hook", () => {
    expect(unknownHooks({ add_block: "p", onScaleUp: "x" })).toEqual(["onScaleUp"]);
    expect(unknownHooks("x")).toEqual([]);
  });
});
