import { describe, expect, it } from "vitest";
import { readAllocatorAnswer, readDryRunAnswer } from "./allocator-answer.ts";

describe("readAllocatorAnswer", () => {
  it.each([
    [
      '{"node_id":"a","gpus":[0,"1"]}',
      { kind: "chosen", nodeId: "a", gpuIds: [0, "1"], gpusField: "gpus" },
    ],
    [
      '{"node_id":"a","gpu_ids":["2"],"extra":1}',
      { kind: "chosen", nodeId: "a", gpuIds: ["2"], gpusField: "gpu_ids" },
    ],
    ['{"node_id":"a"}', { kind: "chosen", nodeId: "a", gpuIds: [], gpusField: "gpu_ids" }],
    ["null", { kind: "unschedulable", reasons: ["policy p:1-s found no place"] }],
    ["{}", { kind: "unschedulable", reasons: ["policy p:1-s found no place"] }],
    ['{"node_id":null,"reasons":["full",7]}', { kind: "unschedulable", reasons: ["full", "7"] }],
  ])("takes %s", (json, answer) => {
    expect(readAllocatorAnswer("p:1-s", json)).toEqual(answer);
  });

  it.each([
    ["[]", /policy p:1-s returned an invalid result: expected an object, got array/],
    ['"a"', /expected an object, got string/],
    ['{"node_id":7}', /node_id: expected the id of a node, got number/],
  ])("refuses %s", (json, message) => {
    expect(() => readAllocatorAnswer("p:1-s", json)).toThrow(message);
  });
});

describe("readDryRunAnswer", () => {
  it("hands on what the policy returned, with its numbers", () => {
    const json = '{"selection_score_data":{"score":0.90,"node_info":{"node_id":"a","gpus":[1]}}}';
    const answer = readDryRunAnswer("p:1-s", json);
    expect(answer.kind).toBe("scored");
    expect(JSON.stringify(answer.result)).toBe(json);
  });

  it.each([
    ["null", { kind: "unschedulable", reasons: ["policy p:1-s found no place"] }],
    ["{}", { kind: "unschedulable", reasons: ["policy p:1-s found no place"] }],
    ['{"node_id":null,"reasons":["full"]}', { kind: "unschedulable", reasons: ["full"] }],
    ['{"node_id":"a","gpus":[1]}', { kind: "chosen", nodeId: "a", gpuIds: [1] }],
  ])("takes an answer of an allocation: %s", (json, answer) => {
    expect(readDryRunAnswer("p:1-s", json)).toMatchObject({ kind: "placed", answer });
  });

  it.each([
    ["[]", /expected an object, got array/],
    ['{"node_id":7}', /node_id: expected the id of a node, got number/],
    ['{"score":0.5}', /selection_score_data: expected an object, got undefined/],
    ['{"selection_score_data":null}', /selection_score_data: expected an object, got null/],
    ['{"selection_score_data":{"score":2}}', /score: expected a number from 0 to 1, got 2/],
    ['{"selection_score_data":{"score":"1"}}', /got string/],
  ])("refuses %s", (json, message) => {
    expect(() => readDryRunAnswer("p:1-s", json)).toThrow(message);
  });
});
