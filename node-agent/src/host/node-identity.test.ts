import { expect, it } from "vitest";
import { defaultNodeId, machineIdOf } from "./node-identity.ts";

it.each([
  ["gpu-07.rack3.example", "gpu-07.rack3.example"],
  ["GPU_Node 7", "gpu-node-7"],
  ["-.weird.-", "weird"],
  ["節点", "node"],
  ["", "node"],
])("makes the node id of the host name %j %j", (hostname, id) => {
  expect(defaultNodeId(hostname)).toBe(id);
});

it("keeps a node id within 253 characters, ending in a letter or digit", () => {
  const id = defaultNodeId(`${"a".repeat(252)}-tail`);
  expect(id).toBe("a".repeat(252));
});

it("takes only a real machine id", () => {
  const id = "3d1219c7c4c5404aaa1f6d2a48adfda4";
  expect(machineIdOf(`${id}\n`)).toBe(id);
  for (const text of [undefined, "", "uninitialized\n", "0123", `${id}0`]) {
    expect(machineIdOf(text)).toBeUndefined();
  }
});
