import { describe, expect, it } from "vitest";
import { CHAT_ENTRY, entryOf } from "../testing/block-fixtures.ts";
import { parseBlockEntry } from "./block-entry.ts";
import { requestedPolicy, requestedProgram, requestedResources } from "./entry-reading.ts";

const none = { gpus: 0, gpuMemoryMiB: undefined, cpuMillis: 0, memoryMiB: 0, storageMiB: 0 };
const allocator = (parameters: object) => ({ policies: { resourceAllocator: { parameters } } });
const withPolicy = (parameters: object) => ({
  policies: { resourceAllocator: { policyRuleURI: "alloc:1.0-stable", parameters } },
});

describe("requestedResources", () => {
  it("reads the GPUs that an existing entry tells its allocator", () => {
    expect(requestedResources(parseBlockEntry(CHAT_ENTRY))).toEqual({ ...none, gpus: 1 });
  });

  it("prefers resources, and takes the allocator's GPUs where they name none", () => {
    const resources = { gpus: 0, cpuMillis: 500 };
    const both = entryOf("b", { ...allocator({ gpus: 4 }), resources });
    expect(requestedResources(both)).toEqual({ ...none, gpus: 0, cpuMillis: 500 });
    const some = entryOf("b", { ...allocator({ gpus: 4 }), resources: { memoryMiB: 7 } });
    expect(requestedResources(some)).toEqual({ ...none, gpus: 4, memoryMiB: 7 });
  });

  it.each([allocator({ gpus: "2" }), withPolicy({ gpus: "2" }), withPolicy({ gpus: 2 })])(
    "reads a whole number, also as text: %j",
    (more) => {
      expect(requestedResources(entryOf("b", more))).toEqual({ ...none, gpus: 2 });
    },
  );

  it.each([
    [{}],
    [allocator({ gpus: null })],
    [withPolicy({ gpus: [0, 1] })],
    [withPolicy({ gpus: 0.5 })],
    [withPolicy({ gpus: -1 })],
    [withPolicy({ gpus: 5_000 })],
    [{ policies: { resourceAllocator: "alloc:1.0-stable" } }],
  ])("asks for no GPU where %j says no number of them", (more) => {
    expect(requestedResources(entryOf("b", more))).toEqual(none);
  });
});

describe("requestedProgram", () => {
  it("reads the image, or the command and its environment", () => {
    const image = { image: "reg.example/llm/chat-7b:2.1.0", command: undefined, env: {} };
    expect(requestedProgram(parseBlockEntry(CHAT_ENTRY))).toEqual(image);
    const containerRegistryInfo = { containerImage: "", command: ["node"], env: { A: "1" } };
    const local = entryOf("b", { component: { containerRegistryInfo } });
    const program = { image: undefined, command: ["node"], env: { A: "1" } };
    expect(requestedProgram(local)).toEqual(program);
    expect(requestedProgram(entryOf("b"))).toEqual({
      image: undefined,
      command: undefined,
      env: {},
    });
  });
});

describe("requestedPolicy", () => {
  it("reads a policy with its parameters, and one that is a URI alone", () => {
    expect(requestedPolicy(parseBlockEntry(CHAT_ENTRY), "autoscaler")).toEqual({
      policyRuleUri: "as.queue:1.0-stable",
      parameters: { target: 8 },
      settings: { intervalSeconds: 30 },
    });
    const plain = entryOf("b", { policies: { a: "p:1.0-stable", b: "", c: {} } });
    expect(requestedPolicy(plain, "a")).toEqual({
      ...{ policyRuleUri: "p:1.0-stable", parameters: {}, settings: {} },
    });
    for (const name of ["b", "c", "d", "constructor"]) {
      expect(requestedPolicy(plain, name)).toBeUndefined();
    }
  });
});
