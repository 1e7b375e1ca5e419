import { isDeepStrictEqual } from "node:util";
import { BerthError, isJsonObject, typeName } from "@berth/service-kit";
import { readProfile } from "../profiles/allocation-profile.ts";
import { type GpuAmounts, readGpuAmounts, showGpuAmounts } from "./gpu-amounts.ts";
import { MAX_REPLICAS, readReplicas } from "./replica-count.ts";

/** What a subject, or a group of subjects, may use of an org. */
export interface Quota {
  readonly quotaId: string;
  /** Whose it is; "" of a group, which others stand below. */
  readonly subjectId: string;
  /** The quota that this one stands below; absent at the top. */
  readonly parentId?: string;
  /** A label, the name of an allocation profile, or a profile as JSON text. */
  readonly allocationInfo: string;
  /** Replicas that are DESIRED: written by users and by accepted requests to scale, never by what is observed. */
  readonly replicas: number;
  readonly minReplicas?: number;
  readonly maxReplicas?: number;
  /** Its own share by flavor; a flavor that is not named is none of its own. Absent: nothing is said. */
  readonly nominal?: GpuAmounts;
  /** Most that it may use by flavor, its own and what it borrows. */
  readonly limit?: GpuAmounts;
  /** ISO 8601, for people. */
  readonly createdAt: string;
  /** ISO 8601, for people. */
  readonly updatedAt: string;
}

/** A quota and its optimistic lock. */
export interface KeptQuota {
  readonly quota: Quota;
  /** 1 at first, one more with each change. */
  readonly revision: number;
}

/** What was seen of a quota's replicas, and when. */
export interface ObservedReplicas {
  readonly replicas: number;
  readonly ageSeconds: number;
}

const MAX_ID_CHARACTERS = 253;
const MAX_INFO_CHARACTERS = 64 * 1024;

/** Names that clients write, in the order in which they are shown. */
const FIELDS = [
  ...["subject_id", "quota_id", "allocation_info", "replica_count", "parent_id"],
  ...["min_replicas", "max_replicas", "nominal", "limit"],
] as const;

type Body = Readonly<Record<string, unknown>>;

/**
 * Reads a new quota; `mintId` names it where the client does not. Unknown fields are dropped, as existing clients send
 * some. INVALID_ARGUMENT names the field.
 */
export function newQuota(
  body: Body,
  { mintId, now }: { readonly mintId: () => string; readonly now: string },
): Quota {
  const quotaId = readId("quota_id", body.quota_id) || mintId();
  const replicas = readBound("min_replicas", body.min_replicas ?? null) ?? 0;
  const none = { quotaId, subjectId: "", allocationInfo: "", replicas };
  return changedQuota({ ...none, createdAt: now, updatedAt: now }, body, now);
}

/**
 * The quota with the fields that a body names; null takes a field away. INVALID_ARGUMENT names the field: the id stays,
 * and bounds must hold together.
 */
export function changedQuota(before: Quota, body: Body, now: string): Quota {
  if (Object.hasOwn(body, "quota_id")) checkSameId(before.quotaId, body.quota_id);
  const told = <T>(field: (typeof FIELDS)[number], former: T, read: Reader<T>): T =>
    Object.hasOwn(body, field) ? read(field, body[field]) : former;
  const after = defined({
    quotaId: before.quotaId,
    subjectId: told("subject_id", before.subjectId, readSubjectId),
    parentId: told("parent_id", before.parentId, readParent),
    allocationInfo: told("allocation_info", before.allocationInfo, readInfo),
    replicas: told("replica_count", before.replicas, readReplicas),
    minReplicas: told("min_replicas", before.minReplicas, readBound),
    maxReplicas: told("max_replicas", before.maxReplicas, readBound),
    nominal: told("nominal", before.nominal, readGpuAmounts),
    limit: told("limit", before.limit, readGpuAmounts),
    ...{ createdAt: before.createdAt, updatedAt: now },
  });
  checkBounds(after);
  return after;
}

type Reader<T> = (field: string, value: unknown) => T;

/** Fields that may be left out, as far as they are there. */
type Defined<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

function defined<T extends object>(fields: T): Defined<T> {
  const told = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(told) as Defined<T>;
}

/** Whether two quotas say the same, whenever they were written. */
export function isSameQuota(one: Quota, other: Quota): boolean {
  const told = ({ createdAt, updatedAt, ...rest }: Quota) => rest;
  return isDeepStrictEqual(told(one), told(other));
}

/** A quota as clients read it: `replica_count` is the text of the seed. */
export function quotaDocument(
  quota: Quota,
  {
    orgId,
    revision,
    observed,
    used,
  }: {
    readonly orgId: string;
    readonly revision: number;
    readonly observed: ObservedReplicas | undefined;
    /** What it uses with all below it. */
    readonly used: GpuAmounts;
  },
): Record<string, unknown> {
  const { nominal, limit } = quota;
  return {
    ...{ subject_id: quota.subjectId, quota_id: quota.quotaId },
    ...{ allocation_info: quota.allocationInfo, replica_count: String(quota.replicas) },
    observed_replicas: observed?.replicas ?? null,
    observed_age_seconds: observed?.ageSeconds ?? null,
    ...{ org_id: orgId, parent_id: quota.parentId ?? null },
    ...{ min_replicas: quota.minReplicas ?? null, max_replicas: quota.maxReplicas ?? null },
    nominal: nominal === undefined ? null : showGpuAmounts(nominal),
    limit: limit === undefined ? null : showGpuAmounts(limit),
    used: showGpuAmounts(used),
    ...{ revision, created_at: quota.createdAt, updated_at: quota.updatedAt },
  };
}

function readSubjectId(field: string, value: unknown): string {
  return readId(field, value ?? "");
}

function readParent(field: string, value: unknown): string | undefined {
  return readId(field, value ?? "") || undefined;
}

function readBound(field: string, value: unknown): number | undefined {
  return value === null ? undefined : readReplicas(field, value);
}

function readId(field: string, value: unknown = ""): string {
  if (typeof value !== "string") throw invalid(`${field}: expected text, got ${typeName(value)}`);
  if (
    value.length > MAX_ID_CHARACTERS ||
    /[\0/\n\r]|^\.{1,2}$/.test(value) ||
    !value.isWellFormed()
  ) {
    throw invalid(
      `${field}: expected up to ${MAX_ID_CHARACTERS} characters on one line without "/"`,
    );
  }
  return value;
}

/** A label as it is; a profile may be written as JSON, too. */
function readInfo(field: string, value: unknown): string {
  const text = isJsonObject(value) ? JSON.stringify(value) : (value ?? "");
  if (typeof text !== "string") {
    throw invalid(`${field}: expected text or an object, got ${typeName(value)}`);
  }
  if (text.length > MAX_INFO_CHARACTERS) {
    throw invalid(`${field}: expected at most ${MAX_INFO_CHARACTERS} characters`);
  }
  readProfile(text, field);
  return text;
}

function checkSameId(quotaId: string, value: unknown): void {
  if (value === quotaId || value === "" || value === undefined) return;
  throw invalid(`quota_id: a quota keeps its id, ${JSON.stringify(quotaId.slice(0, 100))}`);
}

function checkBounds({
  replicas,
  minReplicas = 0,
  maxReplicas = MAX_REPLICAS,
  ...rest
}: Quota): void {
  if (minReplicas > maxReplicas) {
    throw invalid(
      `min_replicas: expected at most max_replicas, ${maxReplicas}, got ${minReplicas}`,
    );
  }
  if (replicas < minReplicas || replicas > maxReplicas) {
    const bounds = `min_replicas ${minReplicas} to max_replicas ${maxReplicas}`;
    throw invalid(`replica_count: expected a number within ${bounds}, got ${replicas}`);
  }
  for (const [flavor, milli] of Object.entries(rest.nominal ?? {})) {
    const most = rest.limit?.[flavor];
    if (most !== undefined && milli > most) {
      throw invalid(`limit.${flavor}: expected at least the nominal share of the flavor`);
    }
  }
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
