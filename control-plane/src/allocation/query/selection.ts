import { BerthError, isJsonObject, toNumber } from "@berth/service-kit";
import type { ClusterView } from "../../fleet/cluster-view.ts";
import { policyMetrics } from "../policy-metrics.ts";
import { valueName } from "../value-name.ts";
import { compileQuery, type Query } from "./cluster-query.ts";
import { DocumentLook } from "./document-look.ts";
import type { QuerySteps, Verdict } from "./query-steps.ts";

/** Which clusters are selected: those whose document and metrics match. An absent query matches all. */
export interface ClusterFilter {
  readonly document: Query | undefined;
  readonly metrics: Query | undefined;
}

/** Looks whether a cluster is selected; see {@link Query}. Without metrics it matches no query of them. */
export function* isSelected(
  { document, metrics }: ClusterFilter,
  view: ClusterView,
  steps: QuerySteps,
): Generator<void, Verdict> {
  steps.nextCluster();
  if (document !== undefined) {
    const verdict = yield* document(new DocumentLook(view.document, steps));
    if (verdict !== true) return verdict;
  }
  if (metrics === undefined) return true;
  const reported = policyMetrics(view);
  return reported !== null && (yield* metrics(new DocumentLook(reported.fields, steps)));
}

const EVERY_CLUSTER: ClusterFilter = { document: undefined, metrics: undefined };
/** What a query consists of, when it stands without the name of its section. */
const OF_DOCUMENTS = ["variable", "logicalOperator"];
const OF_METRICS = ["aggOperator"];
/** What else existing clients write beside a part; nothing is read of it. */
const HEADER = ["header"];
const SECTIONS = ["clusterQuery", "clusterMetricsQuery"];
const RULE = ["matchType", "filter"];
const SEARCH = ["matchType", "rankingPolicyRule"];
const RANKING = ["policyRuleURI", "settings", "parameters", "executionMode", "policyCodePath"];

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
  return inContext("Error in filter_data", () => filterOfRule(filter, "filter"));
}

/**
 * Reads a `search` likewise: `{"rankingPolicyRule": {"policyRuleURI", "settings", "parameters":
 * {"filterRule", "return", …}}}`, each level wrapped in `values` or not. Without a `filterRule` every
 * cluster is a candidate.
 */
export function parseSearch(search: Readonly<Record<string, unknown>>): Search {
  return inContext("Error in similarity_search", () => {
    const outer = unwrap(search, "search");
    checkMatchType(outer, "search");
    const path = "search.rankingPolicyRule";
    const rule = unwrap(objectAt(outer, "rankingPolicyRule", "search"), path);
    refuseOthers(outer, SEARCH, "search");
    const uri = rule.policyRuleURI;
    if (typeof uri !== "string" || uri === "") {
      refuse(`${path}.policyRuleURI`, `expected a policy, got ${valueName(uri)}`);
    }
    refuseOthers(rule, RANKING, path);
    const parameters = optionalObject(rule, "parameters", path);
    const filterRule = optionalObject(parameters, "filterRule", `${path}.parameters`);
    return {
      policyRuleUri: uri,
      settings: optionalObject(rule, "settings", path),
      parameters,
      top: topOf(parameters.return, `${path}.parameters.return`),
      filter:
        Object.keys(filterRule).length === 0
          ? EVERY_CLUSTER
          : filterOfRule(filterRule, `${path}.parameters.filterRule`),
    };
  });
}

function filterOfRule(rule: Readonly<Record<string, unknown>>, path: string): ClusterFilter {
  return clusterFilter(unwrap(rule, path), path);
}

function clusterFilter(rule: Readonly<Record<string, unknown>>, path: string): ClusterFilter {
  checkMatchType(rule, path);
  if (!("filter" in rule)) {
    const { matchType: _, ...rest } = rule;
    return sections(rest, path);
  }
  const filter = sections(objectAt(rule, "filter", path), `${path}.filter`);
  refuseOthers(rule, RULE, path);
  return filter;
}

function sections(filter: Readonly<Record<string, unknown>>, path: string): ClusterFilter {
  const { clusterQuery, clusterMetricsQuery } = filter;
  const ofDocument = section(clusterQuery, { path: `${path}.clusterQuery`, aggregates: false });
  const ofMetrics = section(clusterMetricsQuery, {
    path: `${path}.clusterMetricsQuery`,
    aggregates: true,
  });
  const bare = [...OF_DOCUMENTS, ...OF_METRICS].find((key) => key in filter);
  if (bare !== undefined) {
    if (ofDocument !== undefined || ofMetrics !== undefined) {
      refuse(
        `${path}.${bare}`,
        "a query does not stand beside clusterQuery or clusterMetricsQuery",
      );
    }
    const aggregates = OF_METRICS.includes(bare);
    const { clusterQuery: _, clusterMetricsQuery: __, ...rest } = filter;
    const query = compileQuery(plain(rest), { path, aggregates });
    return aggregates
      ? { document: undefined, metrics: query }
      : { document: query, metrics: undefined };
  }
  if (clusterQuery === undefined && clusterMetricsQuery === undefined) {
    const operator = Object.keys(filter).find((key) => key.startsWith("$"));
    const found = operator === undefined ? "" : `, got ${operator.slice(0, 40)}`;
    refuse(path, `expected clusterQuery or clusterMetricsQuery${found}`);
  }
  refuseOthers(filter, SECTIONS, path);
  return { document: ofDocument, metrics: ofMetrics };
}

/** An absent or empty section selects everything, as it does today. */
function section(
  query: unknown,
  options: { readonly path: string; readonly aggregates: boolean },
): Query | undefined {
  if (query === undefined || query === null) return undefined;
  if (isJsonObject(query) && Object.keys(query).length === 0) return undefined;
  return compileQuery(plain(query), options);
}

/** Numbers of a query are compared, not passed on: raw ones become plain. */
function plain(query: unknown): unknown {
  return JSON.parse(JSON.stringify(query));
}

/** The part inside `body` and `values`, each of which may be left out. */
function unwrap(
  document: Readonly<Record<string, unknown>>,
  path: string,
): Readonly<Record<string, unknown>> {
  let inner = document;
  for (const key of ["body", "values"]) {
    const part = inner[key];
    if (!isJsonObject(part)) continue;
    refuseOthers(inner, [...HEADER, key], path);
    inner = part;
  }
  return inner;
}

/** What is not read is refused: leaving it out in silence would select other clusters than were asked for. */
function refuseOthers(
  part: Readonly<Record<string, unknown>>,
  known: readonly string[],
  path: string,
): void {
  const other = Object.keys(part).find((key) => !known.includes(key));
  if (other === undefined) return;
  refuse(`${path}.${other.slice(0, 60)}`, `unknown field; expected ${known.join(" or ")}`);
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
  return refuse(`${path}.${key}`, `expected an object, got ${valueName(value)}`);
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
