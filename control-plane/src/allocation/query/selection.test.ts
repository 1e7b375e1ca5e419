import { parseLossless } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { aView } from "../../testing/documents.ts";
import { QuerySteps } from "./query-steps.ts";
import { type ClusterFilter, isSelected, parseFilter, parseSearch } from "./selection.ts";

const query = { variable: "id", operator: "==", value: "c1" };
const views = [aView("c1"), aView("c2"), { ...aView("c3"), metrics: null, metricsJson: null }];
const selected = (filter: ClusterFilter) => {
  const steps = new QuerySteps();
  const found = views.filter((view) => isSelected(filter, view, steps).next().value === true);
  return found.map(({ id }) => id);
};

describe("parseFilter", () => {
  const rule = { matchType: "cluster", filter: { clusterQuery: query } };

  it.each<[string, Record<string, unknown>]>([
    ["the whole document", { header: {}, body: { values: rule } }],
    ["the body's values", { values: rule }],
    ["the rule", rule],
    ["the rule without a match type", { filter: { clusterQuery: query } }],
    ["the sections", { clusterQuery: query }],
    ["the sections beside a match type", { matchType: "cluster", clusterQuery: query }],
    ["a bare query beside a match type", { matchType: "cluster", ...query }],
    ["the values beside a header", { header: { templateUri: "Parser/V1" }, values: rule }],
    ["a bare query", query],
    [
      "a bare query beside empty sections",
      { ...query, clusterQuery: {}, clusterMetricsQuery: null },
    ],
    ["a query beside an empty section", { clusterQuery: query, clusterMetricsQuery: {} }],
  ])("takes %s", (_name, filter) => {
    expect(selected(parseFilter(filter))).toEqual(["c1"]);
  });

  it("compares numbers however the client wrote them", () => {
    const filter = parseLossless(
      '{"clusterQuery":{"variable":"reputation","operator":"==","value":100.0}}',
    );
    expect(selected(parseFilter(filter as Record<string, unknown>))).toHaveLength(3);
  });

  it("asks both sections, and a cluster without metrics matches no metrics query", () => {
    const nodes = { aggOperator: "count", target: "nodes", operator: ">=", value: 1 };
    expect(selected(parseFilter({ clusterMetricsQuery: nodes }))).toEqual(["c1", "c2"]);
    expect(selected(parseFilter(nodes))).toEqual(["c1", "c2"]);
    expect(selected(parseFilter({ body: { values: { filter: nodes } } }))).toEqual(["c1", "c2"]);
    const both = { clusterQuery: query, clusterMetricsQuery: nodes };
    expect(selected(parseFilter(both))).toEqual(["c1"]);
  });

  it.each<[Record<string, unknown>, readonly string[]]>([
    [{ variable: "used_memory", operator: ">=", value: 16_000 }, ["c1", "c2"]],
    [{ variable: "used_memory", operator: ">", value: 16_000 }, []],
    [{ variable: "total_memory", operator: "==", value: 32_000 }, ["c1", "c2"]],
    [{ variable: "total_gpus", operator: "==", value: 0 }, ["c1", "c2"]],
    [{ variable: "health", operator: "==", value: "live" }, ["c1", "c2"]],
    [{ variable: "nodes.memory.usedMem", operator: "<=", value: 16_000 }, ["c1", "c2"]],
  ])("finds totals in a metrics query: %j", (clusterMetricsQuery, expected) => {
    expect(selected(parseFilter({ clusterMetricsQuery }))).toEqual(expected);
  });

  it.each<[Record<string, unknown>, string]>([
    [
      { matchType: "block", filter: {} },
      'Error in filter_data: filter.matchType: expected "cluster", got "block"',
    ],
    [{ filter: [] }, "filter.filter: expected an object, got array"],
    [{ anything: 1 }, "filter: expected clusterQuery or clusterMetricsQuery"],
    [{ $where: "1" }, "filter: expected clusterQuery or clusterMetricsQuery, got $where"],
    [
      { ...query, clusterQuery: query },
      "filter.variable: a query does not stand beside clusterQuery or clusterMetricsQuery",
    ],
    [
      { filter: { aggOperator: "count", clusterMetricsQuery: query } },
      "filter.filter.aggOperator: a query does not stand beside clusterQuery",
    ],
    [
      { clusterQuery: { variable: "a", operator: "~", value: 1 } },
      "filter.clusterQuery.operator: Unsupported operator: ~",
    ],
    [
      { clusterQuery: query, blockQuery: query },
      "filter.blockQuery: unknown field; expected clusterQuery or clusterMetricsQuery",
    ],
    [{ filter: { clusterQuery: query, vdagQuery: {} } }, "filter.filter.vdagQuery: unknown field"],
    [{ filter: { clusterQuery: query }, clusterQuery: query }, "filter.clusterQuery: unknown"],
    [{ ...rule, limit: 5 }, "filter.limit: unknown field; expected matchType or filter"],
    [{ body: { values: rule, top: 1 } }, "filter.top: unknown field; expected header or values"],
    [{ body: { values: rule }, clusterQuery: query }, "filter.clusterQuery: unknown field"],
    [{ clusterQuery: { ...query, not: true } }, "filter.clusterQuery.not: unknown field"],
    [{ ...query, negate: true }, "filter.negate: unknown field; expected variable, operator"],
    [
      { clusterQuery: { logicalOperator: "AND", conditions: [query, { ...query, or: [] }] } },
      "filter.clusterQuery.conditions[1].or: unknown field",
    ],
    [
      { clusterQuery: { logicalOperator: "AND", conditions: [query], variable: "id" } },
      "filter.clusterQuery.variable: unknown field; expected logicalOperator, conditions",
    ],
    [
      {
        clusterMetricsQuery: { aggOperator: "count", target: "a", operator: ">", value: 1, by: 1 },
      },
      "filter.clusterMetricsQuery.by: unknown field; expected aggOperator, target",
    ],
  ])("refuses %j and names the place", (filter, message) => {
    expect(() => parseFilter(filter)).toThrow(message);
  });
});

describe("parseSearch", () => {
  const rule = {
    policyRuleURI: "rank:1-s",
    parameters: {
      return: 5,
      minReputation: 90,
      filterRule: { matchType: "cluster", filter: { clusterQuery: query } },
    },
  };

  it.each<[string, Record<string, unknown>]>([
    [
      "as the samples send it",
      { body: { values: { matchType: "cluster", rankingPolicyRule: { values: rule } } } },
    ],
    [
      "as the documentation shows it",
      { body: { values: { matchType: "cluster", rankingPolicyRule: rule } } },
    ],
    ["bare", { rankingPolicyRule: rule }],
    [
      "with what the existing deployment does not read either",
      { rankingPolicyRule: { ...rule, executionMode: "local", policyCodePath: "" } },
    ],
  ])("reads it %s", (_name, search) => {
    const parsed = parseSearch(search);
    expect(parsed).toMatchObject({ policyRuleUri: "rank:1-s", top: 5, settings: {} });
    expect(parsed.parameters).toMatchObject({ minReputation: 90 });
    expect(selected(parsed.filter)).toEqual(["c1"]);
  });

  it("takes every cluster without a filter rule", () => {
    const parsed = parseSearch({ rankingPolicyRule: { policyRuleURI: "rank:1-s" } });
    expect(parsed.top).toBeUndefined();
    expect(selected(parsed.filter)).toEqual(["c1", "c2", "c3"]);
  });

  it.each<[Record<string, unknown>, string]>([
    [
      { x: 1 },
      "Error in similarity_search: search.rankingPolicyRule: expected an object, got undefined",
    ],
    [{ rankingPolicyRule: {} }, "search.rankingPolicyRule.policyRuleURI: expected a policy"],
    [
      { rankingPolicyRule: { policyRuleURI: "r", parameters: { return: 0 } } },
      "parameters.return: expected a whole number from 1, got 0",
    ],
    [
      { rankingPolicyRule: { policyRuleURI: "r", settings: [] } },
      "rankingPolicyRule.settings: expected an object, got array",
    ],
    [
      { rankingPolicyRule: { policyRuleURI: "r" }, filter: {} },
      "search.filter: unknown field; expected matchType or rankingPolicyRule",
    ],
    [
      { rankingPolicyRule: { policyRuleURI: "r", return: 5 } },
      "search.rankingPolicyRule.return: unknown field; expected policyRuleURI",
    ],
    [
      {
        rankingPolicyRule: {
          policyRuleURI: "r",
          parameters: { filterRule: { clusterQuery: query, blockQuery: {} } },
        },
      },
      "parameters.filterRule.blockQuery: unknown field",
    ],
  ])("refuses %j and names the place", (search, message) => {
    expect(() => parseSearch(search)).toThrow(message);
  });
});
