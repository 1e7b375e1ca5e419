import {
  BerthError,
  isJsonObject,
  parseLossless,
  plainOf,
  toNumber,
  typeName,
} from "@berth/service-kit";
import { optionalObject, type Selection, selectionOf } from "../allocation/request-fields.ts";
import { type BlockNeed, blockIdOf, blockNeed } from "./block-need.ts";

/** A policy that decides among clusters. */
export interface PolicyChoice {
  readonly policyRuleUri: string;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly settings: Readonly<Record<string, unknown>>;
}

/** What a client wants placed, and how. */
export interface PlacementRequest {
  readonly blockId: string;
  /** The block's entry as the client wrote it. */
  readonly entryJson: string;
  readonly need: BlockNeed;
  /** Clusters to choose from. */
  readonly selection: Selection;
  /** The ranking policy that the request names. */
  readonly ranking: PolicyChoice | undefined;
  /** The policy of the block's own `policies.clusterAllocator`; without this and `ranking` the highest score wins. */
  readonly blockPolicy: PolicyChoice | undefined;
  /** Clusters that are asked at a time. */
  readonly topK: number;
  /** Policies run while a cluster is chosen: that may take long. */
  readonly runsPolicies: boolean;
}

/** How long a client waits for its answer, and by what it knows its request again. */
export interface PlacementManners {
  /** 0: not at all. */
  readonly waitMs: number;
  readonly idempotencyKey: string | undefined;
}

const TOP_K = { least: 1, most: 50, byDefault: 5 } as const;
const DEFAULT_WAIT_MS = 60_000;
const MAX_WAIT_MS = 300_000;
const MAX_KEY_CHARACTERS = 128;

/** Options that stand beside `block_data`, or, where the body is the entry itself, in it: no entry has such fields. */
const CHOOSING = [
  ...(["cluster_id", "clusters", "filter", "search"] as const),
  ...(["inputs", "policy_rule_uri", "top_k"] as const),
] as const;
const MANNERS = ["wait", "timeout_ms", "idempotency_key"] as const;
/** Options that are also fields of an entry: beside `block_data` only. */
const BESIDE = ["parameters", "settings"] as const;

/**
 * The part of a body that says what is wanted, apart from how long the client waits for it. `body` is read losslessly.
 * INVALID_ARGUMENT names what is missing or unknown.
 */
export function wantedOf(body: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { block_data: given, ...rest } = body;
  if (given === undefined) {
    const entry = omit(body, [...CHOOSING, ...MANNERS]);
    return { block_data: entry, ...pick(body, CHOOSING) };
  }
  if (!isJsonObject(given)) {
    throw invalid(`block_data: expected the entry of a block, got ${typeName(given)}`);
  }
  const known = [...CHOOSING, ...MANNERS, ...BESIDE];
  const unknown = Object.keys(rest).find((key) => !known.some((name) => name === key));
  if (unknown !== undefined) throw invalid(`${unknown.slice(0, 80)}: unknown field`);
  return { block_data: given, ...pick(body, [...CHOOSING, ...BESIDE]) };
}

/** Reads {@link wantedOf}, as such or as it was stored. INVALID_ARGUMENT names the field. */
export function readWanted(wanted: Readonly<Record<string, unknown>>): PlacementRequest {
  const { block_data: entry } = wanted;
  if (!isJsonObject(entry)) throw invalid("block_data: expected the entry of a block");
  const blockId = blockIdOf(entry);
  const entryJson = JSON.stringify(entry);
  const selection = selectionIn(wanted, entry);
  const ranking = rankingOf(wanted);
  const blockPolicy = blockPolicyOf(entry);
  const isDecided =
    ranking !== undefined || blockPolicy !== undefined || selection.kind === "search";
  return {
    ...{ blockId, entryJson, need: blockNeed(entry), selection, ranking, blockPolicy },
    topK: topKOf(wanted.top_k),
    runsPolicies: isDecided || hasPolicies(entry),
  };
}

/** Whether a cluster runs policies for the entry; that of `clusterAllocator` is run here. */
function hasPolicies({ policies }: Readonly<Record<string, unknown>>): boolean {
  return isJsonObject(policies) && Object.keys(policies).some((key) => key !== "clusterAllocator");
}

/** {@link readWanted} from the text that a placement keeps. */
export function readStoredWanted(requestJson: string): PlacementRequest {
  return readWanted(parseLossless(requestJson) as Record<string, unknown>);
}

/** Reads how long a client waits. INVALID_ARGUMENT names the field. */
export function mannersOf({
  wait = true,
  timeout_ms: timeoutMs,
  idempotency_key: key,
}: Readonly<Record<string, unknown>>): PlacementManners {
  if (wait !== null && typeof wait !== "boolean") {
    throw invalid(`wait: expected true or false, got ${typeName(wait)}`);
  }
  const limitMs =
    timeoutMs === undefined || timeoutMs === null ? DEFAULT_WAIT_MS : toNumber(timeoutMs);
  if (limitMs === undefined || !(limitMs >= 0 && limitMs <= MAX_WAIT_MS)) {
    throw invalid(`timeout_ms: expected a number of ms from 0 to ${MAX_WAIT_MS}`);
  }
  const isKey = typeof key === "string" && key !== "" && key.length <= MAX_KEY_CHARACTERS;
  if (key !== undefined && key !== null && !isKey) {
    throw invalid(`idempotency_key: expected a text of 1-${MAX_KEY_CHARACTERS} characters`);
  }
  return { waitMs: wait === false ? 0 : limitMs, idempotencyKey: isKey ? key : undefined };
}

/** Where the request names no clusters the filter of the block's own `clusterAllocator` counts. */
function selectionIn(
  wanted: Readonly<Record<string, unknown>>,
  entry: Readonly<Record<string, unknown>>,
): Selection {
  const asked = selectionOf(withCluster(wanted));
  return asked.kind === "all" ? clusterAllocatorSelection(entry) : asked;
}

/** `cluster_id` names the only cluster to choose from, as `clusters` does with one. */
function withCluster(wanted: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { cluster_id: clusterId, clusters } = wanted;
  if (clusterId === undefined || clusterId === null) return wanted;
  if (typeof clusterId !== "string" || clusterId === "") {
    const got = typeof clusterId === "string" ? "an empty text" : typeName(clusterId);
    throw invalid(`cluster_id: expected the id of a cluster, got ${got}`);
  }
  if (clusters !== undefined && clusters !== null) {
    throw invalid("cluster_id: expected nothing beside clusters");
  }
  return { ...wanted, clusters: [clusterId] };
}

/** The selection that an entry's `policies.clusterAllocator.parameters.filter` makes; all clusters without one. */
export function clusterAllocatorSelection(entry: Readonly<Record<string, unknown>>): Selection {
  const { parameters } = clusterAllocatorOf(entry);
  return selectionOf({ filter: isJsonObject(parameters) ? parameters.filter : undefined });
}

/** The policy that an entry's `policies.clusterAllocator` names, with its parameters and settings; undefined without one. */
export function blockPolicyOf(entry: Readonly<Record<string, unknown>>): PolicyChoice | undefined {
  const { policyRuleURI: uri, parameters, settings } = clusterAllocatorOf(entry);
  if (typeof uri !== "string" || uri === "") return undefined;
  return {
    policyRuleUri: uri,
    parameters: optionalObject("policies.clusterAllocator.parameters", parameters),
    settings: optionalObject("policies.clusterAllocator.settings", settings),
  };
}

function clusterAllocatorOf({
  policies,
}: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const policy = isJsonObject(policies) ? policies.clusterAllocator : undefined;
  if (typeof policy === "string") return { policyRuleURI: policy };
  return isJsonObject(policy) ? policy : {};
}

function rankingOf(wanted: Readonly<Record<string, unknown>>): PolicyChoice | undefined {
  const { policy_rule_uri: uri, inputs } = wanted;
  const parameters = optionalObject("parameters", wanted.parameters);
  const settings = optionalObject("settings", wanted.settings);
  if (uri === undefined || uri === null || uri === "") return undefined;
  if (typeof uri !== "string") {
    throw invalid(`policy_rule_uri: expected a text, got ${typeName(plainOf(uri))}`);
  }
  const given = inputs === undefined || inputs === null ? {} : { inputs };
  return { policyRuleUri: uri, parameters: { ...given, ...parameters }, settings };
}

function topKOf(value: unknown): number {
  if (value === undefined || value === null) return TOP_K.byDefault;
  const topK = toNumber(value) ?? Number.NaN;
  if (Number.isInteger(topK) && topK >= TOP_K.least && topK <= TOP_K.most) return topK;
  throw invalid(`top_k: expected a whole number from ${TOP_K.least} to ${TOP_K.most}`);
}

function pick(body: Readonly<Record<string, unknown>>, names: readonly string[]) {
  const given = names.filter((name) => body[name] !== undefined && body[name] !== null);
  return Object.fromEntries(given.map((name) => [name, body[name]]));
}

function omit(body: Readonly<Record<string, unknown>>, names: readonly string[]) {
  return Object.fromEntries(Object.entries(body).filter(([name]) => !names.includes(name)));
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
