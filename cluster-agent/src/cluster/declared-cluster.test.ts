import { parseLossless } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { defaultDeclaredCluster, updateDeclaredCluster } from "./declared-cluster.ts";

const declared = defaultDeclaredCluster({ clusterId: "c1", regionId: "eu", tags: ["a"] });

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level += 1) value = { deeper: value };
  return value;
}

describe("updateDeclaredCluster", () => {
  it("applies the seed's $set update", () => {
    const update = { $set: { tags: ["gpu", "updated"], reputation: 97 } };
    expect(updateDeclaredCluster(declared, update)).toEqual({
      ...declared,
      tags: ["gpu", "updated"],
      reputation: 97,
    });
  });

  it("applies plain fields with dotted paths, and operators", () => {
    const plain = updateDeclaredCluster(declared, { "clusterMetadata.owner": "infra" });
    expect(plain.clusterMetadata).toEqual({ name: "c1", description: "", owner: "infra" });
    const pushed = updateDeclaredCluster(declared, {
      $push: { tags: "b" },
      $inc: { reputation: -3 },
    });
    expect(pushed).toMatchObject({ tags: ["a", "b"], reputation: 97 });
  });

  it("does not change the document it was given", () => {
    const before = structuredClone(declared);
    updateDeclaredCluster(declared, { tags: ["z"] });
    expect(declared).toEqual(before);
  });

  it("takes a whole config as it was read, without its urlMap", () => {
    const config = { ...declared.config, useGateway: false, urlMap: { publicGateway: "x" } };
    const changed = updateDeclaredCluster(declared, { config });
    expect(changed.config).toMatchObject({ useGateway: false });
    expect(changed.config).not.toHaveProperty("urlMap");
  });

  it("refuses a sum that no double holds", () => {
    const large = updateDeclaredCluster(declared, { "config.weight": 1e308 });
    const doubled = { $inc: { "config.weight": 1e308 } };
    expect(() => updateDeclaredCluster(large, doubled)).toThrow(
      "config.weight: a number is too large for a double",
    );
  });

  it.each([
    ["an observed field", { memory: 1 }, "$set.memory: this field cannot be changed"],
    ["the id", { $set: { id: "x" } }, "$set.id: this field cannot be changed"],
    ["below an observed field", { "nodes.count": 9 }, "$set.nodes.count"],
    ["the agent's url map", { "config.urlMap.publicGateway": "x" }, "fills this field"],
    ["the agent's url map by an operator", { $unset: { "config.urlMap": "" } }, "config.urlMap"],
    ["an unknown field", { colour: "red" }, "colour: unknown field"],
    ["tags of another type", { tags: "gpu" }, "tags: expected array, got string"],
    ["a tag of another type", { tags: [1] }, "tags.0: expected string, got number"],
    ["a reputation out of range", { reputation: 101 }, "reputation"],
    ["a region of another type", { regionId: 7 }, "regionId: expected string"],
    ["metadata of another type", { clusterMetadata: [] }, "clusterMetadata: expected object"],
    ["a required field taken away", { $unset: { tags: "" } }, "tags: required field is missing"],
    ["an unknown operator", { $rename: { tags: "t" } }, "$rename"],
    ["nothing", {}, "the update: expected a non-empty object"],
    ["an array", [], "the update: expected a non-empty object, got array"],
    ["deep nesting", { clusterMetadata: nested(10_000) }, "nested levels"],
    ["deep nesting by a dotted path", { [`config${".a".repeat(40)}`]: 1 }, "nested levels"],
    [
      "a number that no double holds",
      parseLossless('{"$set":{"config.a":{"b":[0,1e400]}}}'),
      "config.a.b.1: a number is too large for a double",
    ],
    ["too much", { "config.blob": "x".repeat(1024 * 1024) }, "characters of JSON"],
  ])("refuses %s", (_what, update, message) => {
    expect(() => updateDeclaredCluster(declared, update)).toThrow(message);
  });
});
