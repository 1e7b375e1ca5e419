import { describe, expect, it } from "vitest";
import { compileQuery, MAX_QUERY_DEPTH, MAX_QUERY_NODES } from "./cluster-query.ts";

/** The documented example cluster of the existing deployment, cut to what the queries look at. */
const CLUSTER = {
  id: "cluster-west-vision-001",
  regionId: "us-west-2",
  memory: 196_608,
  reputation: 94,
  nodes: {
    count: 2,
    nodeData: [
      { id: "node-1", gpus: { gpus: [{ modelName: "NVIDIA A100" }] } },
      { id: "node-2", gpus: { gpus: [{ modelName: "NVIDIA V100" }] } },
    ],
  },
  gpus: { count: 3, memory: 49_152 },
  tags: ["gpu", "production", "ml", "vision", "us-west"],
  clusterMetadata: { countries: ["USA", "Canada"] },
};

const METRICS = {
  clusterId: "c",
  cluster: { vcpu: { load_5m: 2 } },
  nodes: [
    {
      id: "a",
      gpus: [
        { memUtilization: 10, freeMem: 20_000 },
        { memUtilization: 50, freeMem: 45_000 },
      ],
    },
    { id: "b", gpus: [{ memUtilization: 60, freeMem: 1_000 }] },
  ],
};

const simple = (variable: string, operator: string, value: unknown) => ({
  variable,
  operator,
  value,
});
const and = (...conditions: unknown[]) => ({ logicalOperator: "AND", conditions });
const or = (...conditions: unknown[]) => ({ logicalOperator: "OR", conditions });
const agg = (aggOperator: string, target: string, operator: string, value: unknown) => ({
  aggOperator,
  target,
  operator,
  value,
});
const options = { path: "filter.clusterQuery", aggregates: false };
const metrics = { path: "filter.clusterMetricsQuery", aggregates: true };

describe("compileQuery on cluster documents", () => {
  it.each<[string, object, boolean]>([
    ["Q1", simple("regionId", "==", "us-west-2"), true],
    ["Q2", simple("reputation", ">", 90), true],
    ["Q3", simple("tags", "IN", ["ml", "x"]), true],
    ["Q4", simple("memory", ">=", 131_072), true],
    ["Q5", simple("id", "LIKE", "*vision*"), true],
    ["Q6", simple("id", "LIKE", "vision"), true],
    ["Q7", simple("gpus.memory", ">", 49_152), false],
    ["Q8", and(simple("regionId", "==", "us-west-2"), simple("reputation", ">", 90)), true],
    [
      "Q9",
      and(
        simple("regionId", "==", "us-west-2"),
        or(simple("tags", "IN", ["x"]), simple("reputation", ">=", 95)),
      ),
      false,
    ],
    ["Q10", simple("nodes.count", ">", "1"), true],
    ["Q11", simple("reputation", "!=", 94), false],
    ["Q12", simple("nodes.nodeData.id", "==", "node-2"), true],
    ["Q13", simple("nodes.nodeData.gpus.gpus.modelName", "LIKE", "NVIDIA A*"), true],
    ["Q14", simple("clusterMetadata.countries", "==", "Canada"), true],
    ["Q17a", simple("nofield", "<", 5), false],
    ["Q17b", simple("nofield", "!=", 5), true],
    ["Q18", simple("tags", "==", "ml"), true],
    ["a whole array", simple("clusterMetadata.countries", "==", ["USA", "Canada"]), true],
    ["an element by index", simple("tags.0", "==", "gpu"), true],
    ["text against a number", simple("regionId", ">", 5), false],
    ["text order", simple("regionId", "<", "zz"), true],
    ["a dot is a dot", simple("id", "LIKE", "west.vision"), false],
    ["an inherited key is no field", simple("constructor.name", "==", "Object"), false],
  ])("%s", (_name, query, matches) => {
    expect(compileQuery(query, options)(CLUSTER)).toBe(matches);
  });
});

describe("compileQuery on metrics", () => {
  it.each<[string, object, boolean]>([
    ["count of nodes", agg("count", "nodes", ">=", 2), true],
    ["count of GPUs", agg("count", "nodes.gpus", "==", 3), true],
    ["average 40", agg("avg", "nodes.gpus.memUtilization", "<", 50), true],
    ["sum 120", agg("sum", "nodes.gpus.memUtilization", "==", 120), true],
    ["max", agg("max", "nodes.gpus.freeMem", ">", 40_000), true],
    ["min", agg("min", "nodes.gpus.freeMem", "<=", 1_000), true],
    ["average of nothing matches nothing", agg("avg", "nodes.nope", ">=", 0), false],
    ["sum of nothing is 0", agg("sum", "nodes.nope", "==", 0), true],
    ["one level", agg("count", "clusterId", "==", 1), true],
    ["a number in text", agg("count", "nodes", "==", "2"), true],
    [
      "OR keeps each side's operator",
      or(simple("cluster.vcpu.load_5m", ">", 1), agg("count", "nodes", "==", 9)),
      true,
    ],
    [
      "AND inside OR keeps every part",
      or(
        and(agg("count", "nodes", "==", 2), agg("count", "nodes", "==", 3)),
        agg("count", "nodes", "==", 4),
      ),
      false,
    ],
  ])("%s", (_name, query, matches) => {
    expect(compileQuery(query, metrics)(METRICS)).toBe(matches);
  });
});

describe("compileQuery refuses", () => {
  const deep = Array.from({ length: MAX_QUERY_DEPTH }).reduce<object>(
    (query) => and(query),
    simple("a", "==", 1),
  );
  const wide = and(...Array.from({ length: MAX_QUERY_NODES }, () => simple("a", "==", 1)));

  it.each<[string, unknown, string]>([
    [
      "an unknown operator",
      simple("a", "~", 1),
      "filter.clusterQuery.operator: Unsupported operator: ~",
    ],
    [
      "an unknown group",
      { logicalOperator: "NOT", conditions: [] },
      "Unsupported logical operator: NOT",
    ],
    ["an empty group", and(), "filter.clusterQuery.conditions: expected a non-empty array"],
    [
      "a bad part, by its place",
      and(simple("a", "==", 1), {}),
      "filter.clusterQuery.conditions[1].variable: expected a field path",
    ],
    [
      "a missing value",
      { variable: "a", operator: "==" },
      "filter.clusterQuery.value: required field is missing",
    ],
    ["$where", { $where: "1" }, "filter.clusterQuery.variable"],
    ["an array", [], "filter.clusterQuery: expected an object, got array"],
    ["null", null, "filter.clusterQuery: expected an object, got null"],
    ["IN without a list", simple("a", "IN", "x"), "IN needs an array, got string"],
    ["LIKE without text", simple("a", "LIKE", 1), "LIKE needs a string, got number"],
    [
      "an aggregate outside metrics",
      agg("count", "a", "==", 1),
      "aggregates are for clusterMetricsQuery",
    ],
    ["deep nesting", deep, "nested deeper than 32 levels"],
    [
      "many values",
      simple(
        "a",
        "IN",
        Array.from({ length: 10_001 }, () => ({})),
      ),
      "values hold more than 10000 items",
    ],
    [
      "many patterns",
      and(...Array.from({ length: 33 }, () => simple("a", "LIKE", "x"))),
      "more than 32 LIKE conditions",
    ],
    ["many nodes", wide, "more than 1000 nodes"],
  ])("%s", (_name, query, message) => {
    expect(() => compileQuery(query, options)).toThrow(message);
  });

  it.each<[string, object, string]>([
    ["an unknown aggregate", agg("median", "a.b", "==", 1), "Unsupported aggregate: median"],
    [
      "an aggregate against text",
      agg("avg", "a.b", "==", "x"),
      "value: expected a number, got string",
    ],
    [
      "an aggregate with an inherited name",
      agg("avg", "a.b", "toString", 1),
      "Unsupported operator: toString",
    ],
    ["an aggregate with IN", agg("avg", "a.b", "IN", [1]), "Unsupported operator: IN"],
  ])("%s", (_name, query, message) => {
    expect(() => compileQuery(query, metrics)).toThrow(message);
  });

  it("runs a catastrophic pattern in linear time", () => {
    const matches = compileQuery(simple("id", "LIKE", "(a+)+$"), options);
    expect(matches({ id: `${"a".repeat(50_000)}!` })).toBe(false);
  });
});
