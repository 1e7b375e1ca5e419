import { parseLossless } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { CHAT_ENTRY } from "../testing/block-fixtures.ts";
import { instanceBounds, parseBlockEntry } from "./block-entry.ts";

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level += 1) value = { deeper: value };
  return value;
}

const info = (containerRegistryInfo: object) => ({ component: { containerRegistryInfo } });

describe("parseBlockEntry", () => {
  it("takes an entry of the existing deployment as it is, without what is derived", () => {
    const sent = { ...CHAT_ENTRY, cluster: { id: "other" }, instances: [], status: {}, _id: "6f" };
    expect(parseBlockEntry(sent)).toEqual({ ...CHAT_ENTRY, _id: "6f" });
  });

  it("keeps numbers as they were written, and fields that it does not know", () => {
    const text = '{"id":"b","parameters":{"t":1.0,"seed":12345678901234567890},"colour":[1.50]}';
    expect(JSON.stringify(parseBlockEntry(parseLossless(text)))).toBe(text);
  });

  it.each(["a", "blk-7q2mzk1a", "0", "x".repeat(50), "block"])("takes the id %s", (id) => {
    expect(parseBlockEntry({ id })).toEqual({ id });
  });

  it("takes a program with its environment, policies by URI alone, and resources", () => {
    const entry = {
      id: "b",
      ...info({ command: ["node", "echo.js", ""], env: { PORT: "1", "my-app.mode": "" } }),
      policies: { loadBalancer: "lb.rr:1.0-stable", autoscaler: {} },
      resources: { gpus: 2, gpuMemoryMiB: 10, cpuMillis: 500, memoryMiB: 64, storageMiB: 0 },
    };
    expect(parseBlockEntry(entry)).toEqual(entry);
  });

  it("takes null for no bound of instances", () => {
    const bounds = { id: "b", minInstances: null, maxInstances: null };
    expect(parseBlockEntry(bounds)).toEqual(bounds);
  });

  it.each<[string, unknown, string]>([
    ["no object", [], "the block: expected an object, got array"],
    ["no id", {}, "id: required field is missing"],
    ["an id of another type", { id: 7 }, "id: expected string, got number"],
    ["an empty id", { id: "" }, "id: expected 1-50 characters of a-z"],
    ["capital letters", { id: "Blk" }, 'got "Blk"'],
    ["a dash at the end", { id: "blk-" }, 'got "blk-"'],
    ["a long id", { id: "x".repeat(51) }, "id: expected 1-50 characters"],
    ["a reserved id", { id: "query" }, 'id: "query" is a reserved word'],
    ["another reserved id", { id: "blocks" }, 'id: "blocks" is a reserved word'],
    ["a component of another type", { id: "b", component: "x" }, "component: expected object"],
    [
      "a command as one text",
      { id: "b", ...info({ command: "node x" }) },
      "component.containerRegistryInfo.command: expected array, got string",
    ],
    [
      "an argument of another type",
      { id: "b", ...info({ command: ["node", 1] }) },
      "component.containerRegistryInfo.command.1: expected string, got number",
    ],
    [
      "a NUL in an argument",
      { id: "b", ...info({ command: ["a\u0000b"] }) },
      "component.containerRegistryInfo.command.0",
    ],
    [
      "a variable of another type",
      { id: "b", ...info({ env: { PORT: 1 } }) },
      "component.containerRegistryInfo.env.PORT: expected string, got number",
    ],
    [
      "a variable's name that no program could have",
      { id: "b", ...info({ env: { "A=B": "1" } }) },
      'component.containerRegistryInfo.env: expected names of letters, digits, _, - and ., the first no digit, got "A=B"',
    ],
    [
      "an image of another type",
      { id: "b", ...info({ containerImage: {} }) },
      "component.containerRegistryInfo.containerImage: expected string, got object",
    ],
    ["a policy of another type", { id: "b", policies: { a: 7 } }, "policies.a: expected"],
    [
      "a policy's URI of another type",
      { id: "b", policies: { a: { policyRuleURI: 7 } } },
      "policies.a.policyRuleURI: expected string, got number",
    ],
    ["parameters of another type", { id: "b", parameters: [] }, "parameters: expected object"],
    ["tags of another type", { id: "b", tags: "x" }, "tags: expected array, got string"],
    ["a bound below 0", { id: "b", minInstances: -1 }, "minInstances: expected a whole number"],
    ["half an instance", { id: "b", maxInstances: 1.5 }, "maxInstances: expected a whole number"],
    ["a bound that is no number", { id: "b", minInstances: "two" }, 'or null, got "two"'],
    ["a bound of another type", { id: "b", maxInstances: [] }, "or null, got array"],
    [
      "the least above the most",
      { id: "b", minInstances: "3", maxInstances: 2 },
      "minInstances: expected at most maxInstances, which is 2, got 3",
    ],
    [
      "GPUs that are no number where no policy is named",
      { id: "b", policies: { resourceAllocator: { parameters: { gpus: "two" } } } },
      'policies.resourceAllocator.parameters.gpus: expected a whole number of 0-1024, got "two"',
    ],
    [
      "a list of GPUs where no policy is named",
      {
        id: "b",
        policies: { resourceAllocator: { policyRuleURI: "", parameters: { gpus: [0] } } },
      },
      "parameters.gpus: expected a whole number of 0-1024, got array",
    ],
    ["an unknown resource", { id: "b", resources: { gpu: 1 } }, "resources.gpu: unknown field"],
    ["half a GPU", { id: "b", resources: { gpus: 0.5 } }, "resources.gpus: expected integer"],
    ["negative memory", { id: "b", resources: { memoryMiB: -1 } }, "resources.memoryMiB"],
    [
      "memory of no GPU",
      { id: "b", resources: { gpuMemoryMiB: 5 } },
      "resources.gpuMemoryMiB: expected resources.gpus of at least 1 beside it",
    ],
    ["deep nesting", { id: "b", parameters: nested(10_000) }, "at most 32 nested levels"],
    [
      "a number that no double holds",
      parseLossless('{"id":"b","parameters":{"a":[0,1e400]}}'),
      "parameters.a.1: a number is too large for a double",
    ],
    [
      "a key that leads to the prototype",
      JSON.parse('{"id":"b","parameters":{"__proto__":1}}'),
      'parameters: the key "__proto__" is not allowed',
    ],
    ["too much", { id: "b", blob: "x".repeat(262_144) }, "at most 262144 characters of JSON"],
  ])("refuses %s", (_what, value, message) => {
    expect(() => parseBlockEntry(value)).toThrow(message);
  });

  it("makes numbers of bounds that are text", () => {
    const entry = parseBlockEntry({ id: "b", minInstances: "1", maxInstances: "04" });
    expect(entry).toEqual({ id: "b", minInstances: 1, maxInstances: 4 });
  });

  it("keeps what fits exactly, in depth and length", () => {
    const deep = { id: "b", parameters: nested(31) };
    expect(parseBlockEntry(deep)).toEqual(deep);
    const frame = JSON.stringify({ id: "b", blob: "" }).length;
    const long = { id: "b", blob: "x".repeat(262_144 - frame) };
    expect(parseBlockEntry(long)).toEqual(long);
  });
});

describe("instanceBounds", () => {
  it.each([
    [{}, undefined, undefined],
    [{ minInstances: null, maxInstances: "4" }, undefined, 4],
    [{ minInstances: 0, maxInstances: 0 }, 0, 0],
    [parseLossless('{"minInstances":2.0,"maxInstances":2}') as object, 2, 2],
  ])("reads %j", (entry, minInstances, maxInstances) => {
    expect(instanceBounds(entry)).toEqual({ minInstances, maxInstances });
  });
});
