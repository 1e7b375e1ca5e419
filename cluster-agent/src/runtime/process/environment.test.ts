import { describe, expect, it } from "vitest";
import { localInstance } from "../../testing/local-processes.ts";
import { instanceEnvironment, stringsRefusal } from "./environment.ts";

const START = {
  ...{ clusterId: "cl-1", runtimeId: "r", startId: "s" },
  ports: { control: 20_001, metrics: 20_002 },
};
const DEVICES = [
  { uuid: "GPU-a", slot: 0, memoryMiB: 1 },
  { uuid: "MIG-b", slot: 1, memoryMiB: 1 },
];

describe("the environment of an instance", () => {
  it("has a few variables of the agent, those of the component, and ours, which win", () => {
    const env = { LANG: "C", GREETING: "hello", INSTANCE_ID: "mine", BERTH_RUNTIME_ID: "x" };
    const spec = localInstance("in-a", ["x"], { env, initDataJson: '{"a":1}' });
    const agent = { PATH: "/bin", LANG: "de", HOME: undefined, SECRET: "s", BERTH_ADMIN: "t" };
    expect(instanceEnvironment(spec, START, agent)).toEqual({
      PATH: "/bin",
      LANG: "C",
      GREETING: "hello",
      INSTANCE_ID: "in-a",
      BLOCK_ID: "blk-a",
      CLUSTER_ID: "cl-1",
      NODE_ID: "node-1",
      KUBERNETES_NODE_NAME: "node-1",
      CUDA_VISIBLE_DEVICES: "",
      NVIDIA_VISIBLE_DEVICES: "void",
      CUSTOM_INIT_DATA: '{"a":1}',
      BERTH_CONTROL_PORT: "20001",
      BERTH_METRICS_PORT: "20002",
      BERTH_RUNTIME_ID: "r",
      BERTH_INSTANCE: "blk-a/in-a",
      BERTH_START: "s",
    });
  });

  it("names the devices by UUID, whatever the component says", () => {
    const env = { CUDA_VISIBLE_DEVICES: "0,1,2,3", NVIDIA_VISIBLE_DEVICES: "all" };
    const spec = localInstance("in-a", ["x"], { env, devices: DEVICES });
    expect(instanceEnvironment(spec, START, {})).toMatchObject({
      CUDA_VISIBLE_DEVICES: "GPU-a,MIG-b",
      NVIDIA_VISIBLE_DEVICES: "GPU-a,MIG-b",
      NVIDIA_DRIVER_CAPABILITIES: "all",
    });
    const without = instanceEnvironment({ ...spec, devices: [] }, START, {});
    expect(without).toMatchObject({ CUDA_VISIBLE_DEVICES: "", NVIDIA_VISIBLE_DEVICES: "void" });
    expect(without).not.toHaveProperty("CUSTOM_INIT_DATA");
  });
});

describe("arguments and variables that Linux does not take", () => {
  it.each<[string, readonly string[], Record<string, string>, RegExp]>([
    ["a NUL in an argument", ["a", "b\0"], {}, /^command\[1\]: .*NUL/],
    ["a NUL in a name", ["a"], { "A\0B": "" }, /NUL/],
    ["an equals sign in a name", ["a"], { "A=B": "" }, /^env: expected names without "="/],
    ["an empty name", ["a"], { "": "x" }, /^env: expected names/],
    ["a long argument", ["a", "x".repeat(131_072)], {}, /^command\[1\]: expected less than 131072/],
    ["a long value in bytes", ["a"], { A: "☃".repeat(43_700) }, /^env\.A: expected less than/],
    [
      "too much together",
      ["a", ...Array.from({ length: 10 }, () => "x".repeat(120_000))],
      {},
      /^command and env: expected at most 1048576 bytes together/,
    ],
  ])("are refused: %s", (_what, command, environment, message) => {
    expect(stringsRefusal(command, environment)).toMatch(message);
  });

  it("are not those of everyday", () => {
    expect(stringsRefusal(["node", "-e", "☃"], { A: "b=c", EMPTY: "" })).toBeUndefined();
  });
});
