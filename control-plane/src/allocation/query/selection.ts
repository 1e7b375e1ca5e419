import { BerthError, isJsonObject, toNumber, typeName } from "@berth/service-kit";
import type { ClusterView } from "../../fleet/cluster-view.ts";
import { compileQuery, type Predicate } from "./cluster-query.ts";

/** Whether a cluster is selected. */
export type ClusterFilter = (view: ClusterView) => boolean;

/** A parsed `search`: candidates by filter, then a policy that ranks them. */
export interface Search {
  readonly filter: ClusterFilter;
  readonly policyRuleUri: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly parameters: Readonly<Record<string, unknown>>;
  /** Most clusters that come through; absent = as many as the policy returns. */
  readonly top: number | undefined;
}

/**
 * Reads a `filter` as existing clients send it: the search server's document
 * `{"body": {"values": {"matchType": "cluster", "filter": {"clusterQuery", "clusterMetricsQuery"}}}}`,
 * or any inner part of it, down to a bare query. INVALID_ARGUMENT names the place.
 */
export function parseFilter(filter: Readonly<Record<string, unknown>>): ClusterFilter {
  return inContext("Error in filter_data", () => clusterFilter(unwrap(filter), "filter"));
}

/**
 * Reads a `search` likewise: `{"rankingPolicyRule": {"policyRuleURI", "settings", "parameters":
 * {"filterRule", "return", …}}}`, each level wrapped in `values` or not. Without a `filterRule` every
 * cluster is a candidate.
 */
export function parseSearch(search: Readonly<Record<string, unknown>>): Search {
  return inContext("Error in similarity_search", () => {
    const outer = unwrap(search);
    checkMatchType(outer, "search");
    const rule = unwrap(objectAt(outer, "rankingPolicyRule", "search"));
    const path = "search.rankingPolicyRule";
    const uri = rule.policyRuleURI;
    if (typeof uri !== "string" || uri === "") {
      refuse(`${path}.policyRuleURI`, `expected a policy, got ${typeName(uri)}`);
    }
    const parameters = optionalObject(rule, "parameters", path);
    const filterRule = optionalObject(parameters, "filterRule", `${path}.parameters`);
    return {
      policyRuleUri: uri,
      settings: optionalObject(rule, "settings", path),
      parameters,
      top: topOf(parameters.return, `${path}.parameters.return`),
      filter:
        Object.keys(filterRule).length === 0
          ? () => true
          : clusterFilter(unwrap(filterRule), `${path}.parameters.filterRule`),
    };
  });
}

function clusterFilter(rule: Readonly<Record<string, unknown>>, path: string): ClusterFilter {
  checkMatchType(rule, path);
  if ("filter" in rule) {
    return sections(objectAt(rule, "filter", path), `${path}.filter`);
  }
  return sections(rule, path);
}

function sections(filter: Readonly<Record<string, unknown>>, path: string): ClusterFilter {
  const { clusterQuery, clusterMetricsQuery } = filter;
  if ("variable" in filter || "logicalOperator" in filter) {
    const matches = compileQuery(plain(filter), { path, aggregates: false });
    return (view) => matches(view.document);
  }
  if (clusterQuery === undefined && clusterMetricsQuery === undefined) {
    refuse(path, "expected clusterQuery or clusterMetricsQuery");
  }
  const ofDocument = section(clusterQuery, { path: `${path}.clusterQuery`, aggregates: false });
  const ofMetrics = section(clusterMetricsQuery, {
    path: `${path}.clusterMetricsQuery`,
    aggregates: true,
  });
  return (view) =>
    (ofDocument === undefined || ofDocument(view.document)) &&
    (ofMetrics === undefined || (view.metrics !== null && ofMetrics(view.metrics)));
}

/** An absent or empty section selects everything, as it does today. */
function section(
  query: unknown,
  options: { readonly path: string; readonly aggregates: boolean },
): Predicate | undefined {
  if (query === undefined || query === null) return undefined;
  if (isJsonObject(query) && Object.keys(query).length === 0) return undefined;
  return compileQuery(plain(query), options);
}

/** Numbers of a query are compared, not passed on: raw ones become plain. */
function plain(query: unknown): unknown {
  return JSON.parse(JSON.stringify(query));
}

/** The part inside `body` and `values`, each of which may be left out. */
function unwrap(document: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  let inner = document;
  if (isJsonObject(inner.body)) inner = inner.body;
  if (isJsonObject(inner.values)) inner = inner.values;
  return inner;
}

function checkMatchType(rule: Readonly<Record<string, unknown>>, path: string): void {
  const { matchType } = rule;
  if (matchType === undefined || matchType === null || matchType === "cluster") return;
  refuse(`${path}.matchType`, `expected "cluster", got ${JSON.stringify(matchType)?.slice(0, 60)}`);
}

function topOf(value: unknown, path: string): number | undefined {
  if (value === undefined || value === null) return undefined;
  const top = toNumber(typeof value === "string" ? Number(value) : value);
  if (top !== undefined && Number.isInteger(top) && top >= 1) return top;
  return refuse(path, `expected a whole number from 1, got ${JSON.stringify(value)?.slice(0, 60)}`);
}

function objectAt(
  owner: Readonly<Record<string, unknown>>,
  key: string,
  path: string,
): Readonly<Record<string, unknown>> {
  const value = owner[key];
  if (isJsonObject(value)) return value;
  return refuse(`${path}.${key}`, `expected an object, got ${typeName(value)}`);
}

function optionalObject(
  owner: Readonly<Record<string, unknown>>,
  key: string,
  path: string,
): Readonly<Record<string, unknown>> {
  return owner[key] === undefined || owner[key] === null ? {} : objectAt(owner, key, path);
}

function inContext<T>(context: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (!(cause instanceof BerthError)) throw cause;
    throw new BerthError(cause.reason, `${context}: ${cause.message}`, { cause });
  }
}

function refuse(path: string, why: string): never {
  throw new BerthError("INVALID_ARGUMENT", `${path}: ${why}`);
}
