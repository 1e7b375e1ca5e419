import { describe, expect, it } from "vitest";
import { readVerdict } from "./verdict.ts";

const text = (value: unknown) => JSON.stringify(value);

describe("readVerdict", () => {
  it.each([
    ["add_block", { allowed: true }, undefined],
    ["add_block", { allowed: true, input_data: { id: "a" } }, { id: "a" }],
    [
      "add_block",
      { allowed: true, input_data: { block_data: { id: "a" }, cluster_data: {} } },
      { id: "a" },
    ],
    ["remove_node", { allowed: true, input_data: "node-a" }, "node-a"],
    [
      "remove_node",
      { allowed: true, input_data: { node_id: "node-b", cluster_data: {} } },
      "node-b",
    ],
    ["add_node", { allowed: true, updated_node_data: { id: "n" } }, { id: "n" }],
    ["remove_block", { allowed: true, input_data: { block_data: {} } }, undefined],
  ] as const)("of %s takes %j as allowed", (hook, result, changed) => {
    const expected = changed === undefined ? { kind: "allowed" } : { kind: "allowed", changed };
    expect(readVerdict(hook, text(result))).toEqual(expected);
  });

  it("keeps numbers as the policy wrote them", () => {
    const verdict = readVerdict("add_block", '{"allowed":true,"input_data":{"t":0.70}}');
    expect(JSON.stringify(verdict)).toBe('{"kind":"allowed","changed":{"t":0.70}}');
  });

  it.each([
    [{ allowed: false, input_data: "too large" }, "too large", "too large"],
    [{ allowed: false, input_data: { message: "no", n: 1 } }, "no", { message: "no", n: 1 }],
    [{ allowed: false, input_data: { limit: 3 } }, '{"limit":3}', { limit: 3 }],
    [{ allowed: false, message: "older" }, "older", "older"],
    [{ allowed: false }, "the policy gave no reason", null],
  ])("takes %j as denied", (result, reason, data) => {
    expect(readVerdict("add_block", text(result))).toEqual({ kind: "denied", reason, data });
  });

  it.each([[null], [[]], ["yes"], [{}], [{ allowed: "yes" }], [{ allowed: 1 }]])(
    "takes %j as no verdict",
    (result) => {
      expect(readVerdict("add_block", text(result)).kind).toBe("invalid");
    },
  );
});
