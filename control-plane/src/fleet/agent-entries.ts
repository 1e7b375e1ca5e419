import { createHash } from "node:crypto";
import type { AggregateMetrics, ClusterDocument, Entry, NodeMetrics } from "@berth/proto";
import { BerthError, isJsonObject, typeName, unfitForPolicies, validate } from "@berth/service-kit";
import {
  BLOCK_KEY_PREFIXES,
  type BlockValue,
  blockKey,
  LEDGER_KEY,
  MAX_BLOCK_KEYS,
  readBlockValue,
} from "./block-entries.ts";
import { ClusterDocumentBody, checkNodeIds } from "./cluster-body.ts";

/** Key of the entry that holds the cluster document. */
export const CLUSTER_KEY = "cluster";
/** Key of the entry that holds the aggregated metrics. */
export const METRICS_KEY = "metrics";
/** Prefix of the keys that hold one node's metrics. */
export const NODE_KEY_PREFIX = "node/";

/** Most nodes of one cluster, as its agent has it too. */
export const MAX_NODES = 10_000;
/** Most keys of telemetry, and the document: its metrics, and one for each node. */
export const MAX_KEYS = MAX_NODES + 2;
/** Most keys of state that a cluster has: its document, its ledger, what is held of each node, blocks and operations. */
export const MAX_STATE_KEYS = Object.values(MAX_BLOCK_KEYS).reduce<number>(
  (sum, most) => sum + most,
  1,
);

const MAX_KEY_CHARACTERS = 512;
const MAX_ENTRY_CHARACTERS = 16 * 1024 * 1024;

/** The newest value of one key, checked and parsed. */
export type ParsedEntry = { readonly revision: bigint; readonly json: string } & (
  | { readonly kind: "cluster"; readonly document: ClusterDocument }
  | { readonly kind: "metrics"; readonly ageMs: number; readonly aggregate: AggregateMetrics }
  | {
      readonly kind: "node";
      readonly nodeId: string;
      readonly ageMs: number;
      readonly metrics: NodeMetrics;
    }
  | ({ readonly kind: "blocks"; readonly key: string; readonly ageMs: number } & {
      readonly value: BlockValue;
    })
);

/**
 * Checks the key of an entry, also of one that says that a key is gone. INVALID_ARGUMENT names the field
 * by the entry's place in its message.
 */
export function checkKey(key: string, index: number): void {
  const field = `entries.${index}.key`;
  if (key.length > MAX_KEY_CHARACTERS) {
    const message = `${field}: expected at most ${MAX_KEY_CHARACTERS} characters`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  const isNode = key.startsWith(NODE_KEY_PREFIX) && key.length > NODE_KEY_PREFIX.length;
  if (isNode || key === CLUSTER_KEY || key === METRICS_KEY) return;
  if (blockKey(key) !== undefined) return;
  const prefixes = [NODE_KEY_PREFIX, ...Object.values(BLOCK_KEY_PREFIXES)];
  const named = prefixes.map((prefix) => `"${prefix}<id>"`).join(", ");
  const expected = `"${CLUSTER_KEY}", "${METRICS_KEY}", "${LEDGER_KEY}" or one of ${named}`;
  const message = `${field}: unknown key ${JSON.stringify(key)}; expected ${expected}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}

/**
 * Parses an entry of an agent whose key was checked. An agent is trusted with its own cluster and nothing more, so every
 * value is checked: INVALID_ARGUMENT names the key and the field.
 */
export function parseEntry(entry: Entry, clusterId: string): ParsedEntry {
  const { key, revision, json } = entry;
  const ageMs = Number(entry.ageMs);
  if (json.length > MAX_ENTRY_CHARACTERS) refuse(key, "the value is too large");
  const value = parseJson(key, json);
  if (key === CLUSTER_KEY) {
    return { kind: "cluster", revision, json, document: checkDocument(value, clusterId) };
  }
  if (key === METRICS_KEY) {
    return { kind: "metrics", revision, json, ageMs, aggregate: value as AggregateMetrics };
  }
  const place = blockKey(key);
  if (place !== undefined) {
    const read = readBlockValue(place, value);
    if (read.kind === "bad") refuse(key, read.why);
    return { kind: "blocks", key, revision, json, ageMs, value: read };
  }
  const nodeId = key.slice(NODE_KEY_PREFIX.length);
  return { kind: "node", nodeId, revision, json, ageMs, metrics: checkNode(key, value, nodeId) };
}

/** SHA-256 in hex over `key\trevision\n` in key order: equal digests mean equal state. */
export function stateDigest(revisions: ReadonlyMap<string, bigint>): string {
  const hash = createHash("sha256");
  for (const key of [...revisions.keys()].sort()) hash.update(`${key}\t${revisions.get(key)}\n`);
  return hash.digest("hex");
}

function checkDocument(value: Record<string, unknown>, clusterId: string): ClusterDocument {
  if (value.id !== clusterId) refuse(CLUSTER_KEY, `id: expected ${JSON.stringify(clusterId)}`);
  const checked = validate(ClusterDocumentBody, value);
  if (checked.kind === "invalid") refuse(CLUSTER_KEY, checked.message);
  const document = value as unknown as ClusterDocument;
  if (!Array.isArray(document.nodes?.nodeData)) {
    refuse(CLUSTER_KEY, "nodes.nodeData: expected an array");
  }
  checkNodeIds(document.nodes.nodeData);
  return document;
}

function checkNode(key: string, value: Record<string, unknown>, nodeId: string): NodeMetrics {
  if (value.id !== nodeId) refuse(key, `id: expected ${JSON.stringify(nodeId)}`);
  if (value.status !== "healthy" && value.status !== "unhealthy") {
    refuse(key, 'status: expected "healthy" or "unhealthy"');
  }
  if (!Array.isArray(value.gpus) || !value.gpus.every(isJsonObject)) {
    refuse(key, "gpus: expected an array of objects");
  }
  return value as unknown as NodeMetrics;
}

function parseJson(key: string, json: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return refuse(key, "the value is not JSON");
  }
  if (!isJsonObject(value)) return refuse(key, `expected an object, got ${typeName(value)}`);
  const problem = unfitForPolicies(value);
  return problem === undefined ? value : refuse(key, problem);
}

function refuse(key: string, why: string): never {
  throw new BerthError("INVALID_ARGUMENT", `entry ${JSON.stringify(key)}: ${why}`);
}
