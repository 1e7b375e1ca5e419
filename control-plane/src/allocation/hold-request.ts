import { BerthError, isJsonObject, toNumber } from "@berth/service-kit";
import { valueName } from "./value-name.ts";

/** Times that a lease may have, ms: those of the clusters' ledgers. */
const TTL_MS = { least: 1_000, most: 600_000, byDefault: 60_000 } as const;
const MAX_SUBJECT_CHARACTERS = 253;

/** A lease that a client asks for. */
export interface HoldRequest {
  readonly ttlMs: number;
  /** Who is to hold it; undefined when the client does not say. */
  readonly subject: string | undefined;
  /** The quota that it is charged to, where the subject has several. */
  readonly quotaId: string | undefined;
}

const FIELDS = ["ttl_ms", "subject", "quota_id"];

/** Reads `hold`: `true`, or `{"ttl_ms", "subject", "quota_id"}` and nothing else. INVALID_ARGUMENT names the field. */
export function holdOf(value: unknown): HoldRequest | undefined {
  if (value === undefined || value === null || value === "" || value === false) return undefined;
  if (value === true) return { ttlMs: TTL_MS.byDefault, subject: undefined, quotaId: undefined };
  if (!isJsonObject(value)) {
    const message = `hold: expected {"ttl_ms": …} or a boolean, got ${valueName(value)}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  const unknown = Object.keys(value).find((key) => !FIELDS.includes(key));
  if (unknown !== undefined) {
    const message = `hold.${unknown.slice(0, 60)}: unknown field; expected ${FIELDS.join(", ")}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  return {
    ttlMs: ttlMsOf(value.ttl_ms, "hold.ttl_ms"),
    subject: textOf(value.subject, "hold.subject"),
    quotaId: textOf(value.quota_id, "hold.quota_id"),
  };
}

/** Reads the time of a lease; a minute when it is absent. */
export function ttlMsOf(value: unknown, field: string): number {
  if (value === undefined || value === null) return TTL_MS.byDefault;
  const ttlMs = toNumber(value);
  if (Number.isInteger(ttlMs) && Number(ttlMs) >= TTL_MS.least && Number(ttlMs) <= TTL_MS.most) {
    return Number(ttlMs);
  }
  const expected = `expected a whole number of ms from ${TTL_MS.least} to ${TTL_MS.most}`;
  throw new BerthError("INVALID_ARGUMENT", `${field}: ${expected}`);
}

function textOf(value: unknown, field: string): string | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string" && value.length <= MAX_SUBJECT_CHARACTERS) return value;
  const expected = `expected a text of at most ${MAX_SUBJECT_CHARACTERS} characters`;
  throw new BerthError("INVALID_ARGUMENT", `${field}: ${expected}`);
}
