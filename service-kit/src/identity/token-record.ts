import { BerthError } from "../errors.ts";

/** What is kept of an enrolment token; its secret is only kept as a hash, which is not in here. */
export interface TokenRecord {
  /** Ten hexadecimal digits; names the token in lists and in `berth token revoke`. */
  readonly id: string;
  readonly label?: string;
  /** Id that it is for: from its creation, or with `maxUses` 1 from its first use. */
  readonly subjectId?: string;
  /** Keys that it may bind; 0 = any number. */
  readonly maxUses: number;
  /** Keys that it has bound. */
  readonly uses: number;
  /** ISO 8601. */
  readonly createdAt: string;
  /** ISO 8601, on the server's wall clock: the deadline is for people who carry tokens around. */
  readonly expiresAt: string;
}

/** What a new token is to be. */
export interface TokenRequest {
  readonly subjectId?: string;
  /** Time to live, 1,000 ms to {@link MAX_TOKEN_TTL_MS}; {@link DEFAULT_TOKEN_TTL_MS} when absent. */
  readonly ttlMs?: number;
  /** 1 when absent; 0 = any number, at most {@link MAX_TOKEN_USES}. */
  readonly maxUses?: number;
  /** For people, 1-200 characters. */
  readonly label?: string;
}

/** An agent id that a key speaks for. */
export interface Binding {
  readonly subjectId: string;
  /** What the id is bound to: "process:<machine id>:<data-directory id>". */
  readonly identity: string;
  /** ISO 8601. */
  readonly enrolledAt: string;
  /** Token that bound the key; {@link LOCAL_TOKEN_ID} for the supervisor's. */
  readonly tokenId: string;
}

/** Id that stands for the supervisor's token in {@link Binding.tokenId}. */
export const LOCAL_TOKEN_ID = "local";
/** 24 hours. */
export const DEFAULT_TOKEN_TTL_MS = 24 * 3_600_000;
/** 90 days. */
export const MAX_TOKEN_TTL_MS = 90 * 24 * 3_600_000;
/** Most keys that a counted token may bind. */
export const MAX_TOKEN_USES = 10_000;
/** Longest label, in characters. */
export const MAX_LABEL_LENGTH = 200;

/**
 * Most bytes of an Enrol message, for `readMaxBytes` of the enrolment service: its fields take less than 1 KiB,
 * and whoever sends it may have nothing but a token.
 */
export const MAX_ENROL_BYTES = 16 * 1024;

const SUBJECT_ID = /^[a-zA-Z0-9._-]{1,253}$/;
const MAX_IDENTITY_LENGTH = 512;
const KEY_HASH_BYTES = 32;

/** Throws INVALID_ARGUMENT that names the field unless a token can be made so. */
export function checkTokenRequest(request: TokenRequest): void {
  const { subjectId, ttlMs = DEFAULT_TOKEN_TTL_MS, maxUses = 1, label } = request;
  if (subjectId !== undefined) checkSubjectId(subjectId);
  expectWhole("ttl_ms", ttlMs, { min: 1_000, max: MAX_TOKEN_TTL_MS });
  expectWhole("max_uses", maxUses, { min: 0, max: MAX_TOKEN_USES });
  if (label !== undefined && (label === "" || label.length > MAX_LABEL_LENGTH)) {
    throw invalid(`label: expected 1-${MAX_LABEL_LENGTH} characters`);
  }
}

/** What an agent says in Enrol. */
export interface EnrolmentRequest {
  readonly subjectId: string;
  readonly identity: string;
  readonly keySha256: Uint8Array;
}

/** Throws INVALID_ARGUMENT that names the field of the proto message. */
export function checkEnrolmentRequest(request: EnrolmentRequest): void {
  checkSubjectId(request.subjectId);
  if (request.identity === "" || request.identity.length > MAX_IDENTITY_LENGTH) {
    throw invalid(`identity: expected 1-${MAX_IDENTITY_LENGTH} characters`);
  }
  if (request.keySha256.byteLength !== KEY_HASH_BYTES) {
    throw invalid(
      `key_sha256: expected ${KEY_HASH_BYTES} bytes, got ${request.keySha256.byteLength}`,
    );
  }
}

/** Whether a token has bound as many keys as it may. */
export function isSpent({ maxUses, uses }: Pick<TokenRecord, "maxUses" | "uses">): boolean {
  return maxUses > 0 && uses >= maxUses;
}

function checkSubjectId(subjectId: string): void {
  if (SUBJECT_ID.test(subjectId)) return;
  throw invalid("subject_id: expected 1-253 characters of letters, digits, '.', '_' and '-'");
}

function expectWhole(field: string, value: number, bounds: { min: number; max: number }): void {
  if (Number.isInteger(value) && value >= bounds.min && value <= bounds.max) return;
  throw invalid(`${field}: expected a whole number from ${bounds.min} to ${bounds.max}`);
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
