import { describe, expect, it } from "vitest";
import type { InstanceSpec } from "../runtime.ts";
import { isImageReference } from "./image-reference.ts";
import { clusterLabel, selectorOf } from "./object-names.ts";
import { blockRefusal, instanceRefusal } from "./spec-refusals.ts";
import { parseWorkloadOptions } from "./workload-options.ts";

const OWNERSHIP = { operationId: "op-1", fence: { storeId: "", controllerTerm: "0" } };
const SPEC: InstanceSpec = {
  ...{ blockId: "blk-a", instanceId: "in-x4k9mq2p", nodeId: "node-1", image: "model:1" },
  ...{ command: undefined, env: {}, initDataJson: undefined, devices: [], cpuMillis: 0 },
  ...{ memoryMiB: 0, storageMiB: 0, allocationId: "alloc-1", ownership: OWNERSHIP },
};

describe("what can never be on Kubernetes", () => {
  it.each([
    ["a block that begins with a digit", { blockId: "1a" }, "blockId"],
    [
      "a block whose Service's name would be too long",
      { blockId: `b${"a".repeat(47)}` },
      "blockId",
    ],
    ["a block with capitals", { blockId: "Blk" }, "blockId"],
    ["an instance that is called as the executor", { instanceId: "executor" }, "instanceId"],
    ["an instance with a dot", { instanceId: "in.a" }, "instanceId"],
    [
      "an instance whose Service's name would be too long",
      { instanceId: `in-${"a".repeat(60)}` },
      "instanceId",
    ],
    ["a node that is no label", { nodeId: "node 1" }, "nodeId"],
    ["a component without an image", { image: undefined }, "containerImage"],
    ["an image that is no reference", { image: "model:1; rm -rf /" }, "containerImage"],
    [
      "a device that is no UUID",
      { devices: [{ uuid: "all,GPU-1", slot: 0, memoryMiB: 1 }] },
      "devices",
    ],
  ])("%s is refused, and the field is named", (_what, more, field) => {
    const outcome = instanceRefusal({ ...SPEC, ...more }, "exclusive");
    expect(outcome).toMatchObject({ kind: "refused" });
    expect(outcome).toHaveProperty("message", expect.stringContaining(field));
  });

  it("a part of a GPU is refused where GPUs are counted", () => {
    for (const device of [{ uuid: "MIG-1" }, { uuid: "GPU-1", isShared: true } as const]) {
      const devices = [{ ...device, slot: 0, memoryMiB: 1 }];
      expect(instanceRefusal({ ...SPEC, devices }, "exclusive")).toBeUndefined();
      expect(instanceRefusal({ ...SPEC, devices }, "counted")).toMatchObject({ kind: "refused" });
    }
  });

  it("the longest names that fit are not refused", () => {
    const blockId = `b${"a".repeat(46)}`;
    expect(blockRefusal({ blockId, ownership: OWNERSHIP })).toBeUndefined();
    expect(instanceRefusal({ ...SPEC, blockId }, "exclusive")).toBeUndefined();
  });
});

describe("an image reference", () => {
  it.each([
    "echo",
    "berth-echo:1.0.0",
    "registry.example:5000/team/model_a/b:V1.2-x",
    "[fd00::1]:5000/model",
    `model@sha256:${"a".repeat(64)}`,
    `registry.example/model:1@sha256:${"a".repeat(64)}`,
  ])("%s is one", (text) => {
    expect(isImageReference(text)).toBe(true);
  });

  it.each([
    "",
    "Model",
    "model:",
    "model: 1",
    "http://registry/model",
    "model@sha256:abc",
    "a//b",
    "a/",
    `m${"a".repeat(600)}`,
  ])("%s is none", (text) => {
    expect(isImageReference(text)).toBe(false);
  });

  it("is told in linear time from a text that is made to be hard", () => {
    const began = performance.now();
    expect(isImageReference(`${"a-".repeat(250)}!`)).toBe(false);
    expect(performance.now() - began).toBeLessThan(5_000);
  });
});

describe("labels and selectors", () => {
  it("carry a cluster id that is no label as a digest", () => {
    expect(clusterLabel("eu.west_1")).toBe("eu.west_1");
    const long = clusterLabel("c".repeat(200));
    expect(long).toMatch(/^sha256-[0-9a-f]{40}$/);
    expect(clusterLabel("c".repeat(199))).not.toBe(long);
    expect(clusterLabel("-odd-")).toMatch(/^sha256-/);
  });

  it("select what is this cluster's, of one block or instance", () => {
    const own = "app.kubernetes.io/managed-by=berth,berth.dev/cluster=cl-1";
    expect(selectorOf("cl-1")).toBe(own);
    expect(selectorOf("cl-1", { blockId: "b", instanceId: "i" })).toBe(
      `${own},blockID=b,instanceID=i`,
    );
  });
});

describe("the options of an operator's file", () => {
  it.each([
    [{ hostPath: "/data" }, /hostPath/],
    [{ runAsUser: 0 }, /runAsUser/],
    [{ instance: { sidecars: [{ name: "instance", image: "a" }] } }, /instance\.sidecars/],
    [{ route: { gateway: "g", port: 1 } }, /executor/],
    [
      { executor: { containers: [{ name: "a", image: "b", securityContext: {} }] } },
      /securityContext/,
    ],
  ])("%j are refused with the field's name", (options, message) => {
    expect(() => parseWorkloadOptions(options)).toThrow(message);
  });
});
