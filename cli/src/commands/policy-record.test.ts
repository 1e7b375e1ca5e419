import { describe, expect, it } from "vitest";
import { completeFields, parsePolicyYaml } from "./policy-record.ts";

const parse = (text: string) => parsePolicyYaml(text, "p/policy.yaml");

describe("parsePolicyYaml", () => {
  it("reads every key, and tag as release_tag", () => {
    const text = "name: a\nversion: 1.0.0\ntag: beta\ntags: [x]\npolicy_settings: {k: 1}\ntype:\n";
    expect(parse(text)).toEqual({
      name: "a",
      version: "1.0.0",
      release_tag: "beta",
      tags: ["x"],
      policy_settings: { k: 1 },
    });
  });

  it.each([
    ["version: 1.0", "p/policy.yaml: version: expected text (put the number in quotes)"],
    ["name: [a]", "p/policy.yaml: name: expected text"],
    ["tags: a", "p/policy.yaml: tags: expected a list of texts"],
    ["metadata: 3", "p/policy.yaml: metadata: expected a mapping"],
    ["nmae: a", "p/policy.yaml: unknown key nmae: expected name, version,"],
    ["constructor: a", "p/policy.yaml: unknown key constructor"],
    ["tag: a\nrelease_tag: b", "p/policy.yaml: tag and release_tag are the same key"],
    ["- a", "p/policy.yaml: expected a mapping with name and version"],
    ["", "p/policy.yaml: expected a mapping with name and version"],
    ["a: [", "p/policy.yaml: not YAML: "],
    ["a: 1\na: 2", "p/policy.yaml: not YAML: "],
  ])("refuses %j and says why", (text, message) => {
    expect(() => parse(text)).toThrow(message);
  });

  it("keeps numbers as they were written, for their way into JSON", () => {
    const text = "policy_parameters: {a: 1.0, b: 9223372036854775809, c: 0x10, d: 2, e: +3}";
    expect(JSON.stringify(parse(text).policy_parameters)).toBe(
      '{"a":1.0,"b":9223372036854775809,"c":16,"d":2,"e":3}',
    );
    expect(() => parse("metadata: {a: .nan}")).toThrow(
      ".nan: expected a number that JSON can carry",
    );
  });

  it("refuses aliases that multiply", () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) => `k${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`)}]`,
    );
    expect(() => parse(`k0: &a0 [x]\n${levels.join("\n")}`)).toThrow("not YAML that can be read");
  });
});

describe("completeFields", () => {
  it("lets flags override the file and falls back on the tag stable", () => {
    const fields = { name: "a", version: "1", description: "d" };
    expect(completeFields(fields, { version: "2", tag: "rc" })).toEqual({
      name: "a",
      version: "2",
      description: "d",
      release_tag: "rc",
    });
    expect(completeFields(fields, {}).release_tag).toBe("stable");
  });

  it("says which flag or key is missing", () => {
    expect(() => completeFields({}, {})).toThrow(
      "the policy has no name: give --name, or the key name in policy.yaml",
    );
    expect(() => completeFields({ name: "a" }, {})).toThrow("no version: give --version");
  });
});
