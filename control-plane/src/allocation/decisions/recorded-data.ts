import { createHash } from "node:crypto";
import { isJsonObject } from "@berth/service-kit";
import { chosenClusters } from "./chosen-clusters.ts";

/** Bytes of a placement, as JSON, that a record keeps. */
const MAX_DATA_BYTES = 16 * 1024;
/** The same for the names of the chosen clusters. */
const MAX_NAMES_BYTES = 16 * 1024;
/** The same for each list of a single placement that is too large. */
const MAX_LIST_BYTES = MAX_DATA_BYTES / 4;
/** Characters of a name: with two of them, 6 bytes each at most, and two lists, it is within the limit. */
const MAX_NAME = 253;

type Keep = (value: unknown) => unknown;
const name: Keep = (value) => {
  return value === null || (typeof value === "string" && value.length <= MAX_NAME)
    ? value
    : undefined;
};
const list: Keep = (value) => (Array.isArray(value) ? fitting(value, MAX_LIST_BYTES) : undefined);
const flag: Keep = (value) => (typeof value === "boolean" ? value : undefined);

/** What is kept of a placement that is too large: what it places, or why it does not. Undefined is left out. */
const KEPT: readonly (readonly [string, Keep])[] = [
  ["cluster_id", name],
  ["node_id", name],
  ["gpus", list],
  ["unschedulable", flag],
  ["reasons", list],
];

/** What a record tells of a placement that it does not hold whole. */
export interface DataCut {
  /** Of the whole as JSON. */
  readonly bytes: number;
  /** Of the same text. */
  readonly sha256: string;
  /** Chosen clusters. */
  readonly cluster_ids: readonly string[];
  /** How many more there are. */
  readonly cluster_ids_more: number;
}

/** A placement as a record holds it; `data_cut` is there when that is not the whole. */
export interface RecordedData {
  readonly data: unknown;
  readonly data_cut?: DataCut;
}

/**
 * What a record keeps of a placement: all of it up to 16 KiB as JSON. Of more it keeps the first placements of a
 * list, and of a single one that is too large the part that Berth understands.
 */
export function recordedData(data: unknown): RecordedData {
  const text = JSON.stringify(data);
  // A character is 3 bytes at most.
  if (text.length * 3 <= MAX_DATA_BYTES) return { data };
  const bytes = Buffer.byteLength(text);
  if (bytes <= MAX_DATA_BYTES) return { data };
  const ids = [...new Set(chosenClusters(data).filter((id) => typeof id === "string"))];
  const named = fitting(ids, MAX_NAMES_BYTES);
  const data_cut = {
    ...{ bytes, sha256: createHash("sha256").update(text).digest("hex") },
    ...{ cluster_ids: named, cluster_ids_more: ids.length - named.length },
  };
  return { data: beginning(data), data_cut };
}

function beginning(data: unknown): unknown {
  if (!Array.isArray(data)) return small(data);
  const kept: unknown[] = [];
  let left = MAX_DATA_BYTES - 2;
  for (const item of data) {
    const whole = sizeOf(item) <= left ? item : small(item);
    left -= sizeOf(whole) + 1;
    if (left < -1) break;
    kept.push(whole);
  }
  return kept;
}

/** The part of a placement that Berth understands, with as many GPUs or reasons as fit. */
function small(item: unknown): unknown {
  if (!isJsonObject(item)) return null;
  const known = KEPT.map(([key, keep]) => {
    return [key, Object.hasOwn(item, key) ? keep(item[key]) : undefined] as const;
  });
  return Object.fromEntries(known.filter(([, value]) => value !== undefined));
}

/** The first items of a list that fit into so many bytes of JSON. */
function fitting<T>(items: readonly T[], maxBytes: number): readonly T[] {
  let left = maxBytes - 2;
  const end = items.findIndex((item) => {
    left -= sizeOf(item) + 1;
    return left < -1;
  });
  return end === -1 ? items : items.slice(0, end);
}

function sizeOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}
