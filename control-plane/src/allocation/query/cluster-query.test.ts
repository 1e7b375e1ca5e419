import { describe, expect, it } from "vitest";
import { compileQuery, MAX_QUERY_DEPTH, MAX_QUERY_NODES, type Query } from "./cluster-query.ts";
import { DocumentLook } from "./document-look.ts";
import { MAX_CLUSTER_STEPS, QuerySteps, TOO_LONG, type Verdict } from "./query-steps.ts";

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

/** What a query comes to on a document, and how often it paused on the way. */
function lookAt(query: Query, document: unknown): { verdict: Verdict; pauses: number } {
  const steps = new QuerySteps();
  steps.nextCluster();
  const work = query(new DocumentLook(document, steps));
  for (let pauses = 0; ; pauses += 1) {
    const piece = work.next();
    if (piece.done === true) return { verdict: piece.value, pauses };
  }
}
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
    [
      "a value of a list",
      simple("nodes.nodeData.gpus.gpus", "==", { modelName: "NVIDIA V100" }),
      true,
    ],
    ["an object's members in another order", simple("nodes.nodeData.0", "==", {}), false],
    ["an index and the items below it", simple("nodes.nodeData.1.id", "IN", ["node-1"]), false],
    ["an inherited key is no field", simple("constructor.name", "==", "Object"), false],
  ])("%s", (_name, query, matches) => {
    expect(lookAt(compileQuery(query, options), CLUSTER).verdict).toBe(matches);
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
    expect(lookAt(compileQuery(query, metrics), METRICS).verdict).toBe(matches);
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
    ["$where", { $where: "1" }, "filter.clusterQuery.$where: operators of MongoDB are not"],
    [
      "$where in a group",
      and({ $where: "1" }),
      "filter.clusterQuery.conditions[0].$where: operators of MongoDB",
    ],
    [
      "$where beside a condition",
      { ...simple("a", "==", 1), $where: "1" },
      "filter.clusterQuery.$where: operators of MongoDB",
    ],
    [
      "$where as a value",
      simple("a", "==", { $where: "1" }),
      "filter.clusterQuery.value.$where: operators of MongoDB",
    ],
    [
      "$where in a list of values",
      simple("a", "IN", [1, { b: { $where: "1" } }]),
      "filter.clusterQuery.value.$where: operators of MongoDB",
    ],
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
    const query = compileQuery(simple("id", "LIKE", "(a+)+$"), options);
    expect(lookAt(query, { id: `${"a".repeat(50_000)}!` }).verdict).toBe(false);
  });
});

describe("a query on a large document", () => {
  const items = Array.from({ length: 300_000 }, (_, n) => n);

  it("pauses, so that others can have their turn", () => {
    const query = compileQuery(simple("big", "==", -1), options);
    const { verdict, pauses } = lookAt(query, { big: items });
    expect(verdict).toBe(false);
    expect(pauses).toBeGreaterThan(20);
  });

  it("ends undecided when it takes too many steps, in any group", () => {
    const long = Array.from({ length: 990 }, (_, n) => simple("big", "==", -1 - n));
    const begunAt = performance.now();
    for (const query of [or(...long), and(simple("big", "!=", -1), or(...long))]) {
      expect(lookAt(compileQuery(query, options), { big: items }).verdict).toBe(TOO_LONG);
    }
    const aggregate = compileQuery(agg("sum", "big", ">", 0), metrics);
    const tooLarge = Array.from({ length: MAX_CLUSTER_STEPS }, () => 1);
    expect(lookAt(aggregate, { big: tooLarge }).verdict).toBe(TOO_LONG);
    expect(performance.now() - begunAt).toBeLessThan(3_000);
  });

  it("walks each path once, however many conditions ask for it", () => {
    let reads = 0;
    const document = {
      get id() {
        reads += 1;
        return "x";
      },
    };
    const many = or(...Array.from({ length: 900 }, (_, n) => simple("id", "==", `${n}`)));
    expect(lookAt(compileQuery(many, options), document).verdict).toBe(false);
    expect(reads).toBe(1);
  });

  it("looks at each place once, whichever ways of indices and items lead there", () => {
    let nested: unknown = "end";
    for (let level = 0; level < 60; level += 1) nested = [{ "0": nested }];
    const path = Array.from({ length: 120 }, () => "0").join(".");
    const query = compileQuery(simple(path, "==", "end"), options);
    const { verdict, pauses } = lookAt(query, nested);
    expect(verdict).toBe(true);
    expect(pauses).toBeLessThan(30);
  });

  it("counts what a pattern takes on a long text", () => {
    const query = compileQuery(simple("id", "LIKE", "(a|aa|aaa|.a|a.){40}z"), options);
    const begunAt = performance.now();
    expect(lookAt(query, { id: "a".repeat(4_000_000) }).verdict).toBe(TOO_LONG);
    expect(performance.now() - begunAt).toBeLessThan(1_000);
  });
});
