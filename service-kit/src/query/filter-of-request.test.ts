import { describe, expect, it } from "vitest";
import { compileFilter } from "./filter.ts";
import { filterOfBody, filterOfParameters } from "./filter-of-request.ts";

const document = {
  clusterId: "cluster-7",
  used_cpu: 40,
  nodes: [{ vcpu: { count: 64 } }, { vcpu: { count: 32 } }],
};

describe("filterOfBody", () => {
  it.each<[unknown, unknown]>([
    [undefined, {}],
    [{ clusterId: "a" }, { clusterId: "a" }],
    [{ query: { clusterId: "a" } }, { clusterId: "a" }],
    [{ query: {} }, {}],
    [{ "query.a": 1 }, { "query.a": 1 }],
    [[1], [1]],
  ])("reads %j", (body, filter) => {
    expect(filterOfBody(body)).toEqual(filter);
  });

  it.each<[unknown, string]>([
    [{ query: "a" }, "query: expected a filter as a JSON object, got string"],
    [{ query: [] }, "query: expected a filter as a JSON object, got array"],
    [{ query: null }, "query: expected a filter as a JSON object, got null"],
    [{ query: { a: 1 }, limit: 1 }, 'limit: expected nothing beside "query"'],
    [{ limit: 1, query: {}, skip: 2 }, 'limit: expected nothing beside "query"'],
    [{ query: [], limit: 1 }, "query: expected a filter"],
  ])("refuses %j", (body, message) => {
    expect(() => filterOfBody(body)).toThrow(message);
  });
});

describe("filterOfParameters", () => {
  it.each<[Record<string, unknown>, boolean]>([
    [{}, true],
    [{ clusterId: "cluster-7" }, true],
    [{ clusterId: ["x", "cluster-7"] }, true],
    [{ used_cpu: "40" }, true],
    [{ used_cpu: "40.0" }, true],
    [{ "nodes.vcpu.count": "32", clusterId: "cluster-7" }, true],
    [{ regionId: "null" }, true],
    [{ "nodes.simulated": "true" }, false],
    [{ clusterId: "" }, false],
    [{ filter: '{"used_cpu":{"$gte":40}}' }, true],
    [{ filter: '{"used_cpu":{"$gte":40}}', clusterId: "x" }, false],
    [{ filter: '{"clusterId":"x"}', clusterId: "cluster-7" }, false],
  ])("reads %j", (parameters, expected) => {
    expect(compileFilter(filterOfParameters(parameters))(document)).toBe(expected);
  });

  it.each<[Record<string, unknown>, string]>([
    [{ filter: "{" }, "filter: the request is not JSON"],
    [{ filter: "[]" }, "filter: expected one JSON object, got array"],
    [{ filter: ["{}", "{}"] }, "filter: expected one JSON object"],
    [{ $where: "1" }, "$where: expected a field's path"],
  ])("refuses %j", (parameters, message) => {
    expect(() => filterOfParameters(parameters)).toThrow(message);
  });

  it("does not take a prototype for a path", () => {
    const parameters = JSON.parse('{"__proto__":"x","a":"1"}');
    expect(() => compileFilter(filterOfParameters(parameters))).toThrow("is not a path");
  });
});
