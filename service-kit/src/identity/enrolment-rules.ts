import { randomBytes } from "node:crypto";
import { BerthError } from "../errors.ts";
import type { StoredBinding, StoredToken } from "./enrolment-store.ts";
import { newSecret, sha256Hex } from "./enrolment-token.ts";
import {
  DEFAULT_TOKEN_TTL_MS,
  type EnrolmentRequest,
  isSpent,
  type TokenRecord,
  type TokenRequest,
} from "./token-record.ts";

/** The token behind a secret: one of the store's, or the supervisor's. */
export type Grant =
  | { readonly kind: "local" }
  | { readonly kind: "kept"; readonly token: StoredToken };

/** A token as it is asked for (and checked), and its secret, which is not kept; `now` in ISO 8601. */
export function newToken(
  { subjectId, ttlMs = DEFAULT_TOKEN_TTL_MS, maxUses = 1, label }: TokenRequest,
  now: string,
): { readonly token: StoredToken; readonly secret: string } {
  const secret = newSecret();
  const token: StoredToken = {
    id: randomBytes(5).toString("hex"),
    ...(label === undefined ? {} : { label }),
    ...(subjectId === undefined ? {} : { subjectId }),
    maxUses,
    uses: 0,
    createdAt: now,
    expiresAt: new Date(Date.parse(now) + ttlMs).toISOString(),
    secretSha256: sha256Hex(secret),
  };
  return { token, secret };
}

/** Whether a token has expired; `now` in ISO 8601. */
export function isPast(token: TokenRecord, now: string): boolean {
  return Date.parse(token.expiresAt) <= Date.parse(now);
}

/** Whether a subject is bound to this identity and key already. */
export function isBoundSo(
  binding: StoredBinding | undefined,
  asked: Pick<StoredBinding, "identity" | "keySha256">,
): binding is StoredBinding {
  return binding?.identity === asked.identity && binding.keySha256 === asked.keySha256;
}

/** Throws PERMISSION_DENIED when the token is for another subject. */
export function refuseOther(grant: Grant, { subjectId }: EnrolmentRequest, subject: string): void {
  if (grant.kind === "local") return;
  const owner = grant.token.subjectId;
  if (owner === undefined || owner === subjectId) return;
  const message = `subject_id: this enrolment token is for another ${subject}; make one for ${subjectId}`;
  throw new BerthError("PERMISSION_DENIED", message);
}

/** Throws UNAUTHENTICATED when the token has expired or is spent. */
export function refuseStale(grant: Grant, now: string): void {
  if (grant.kind === "local") return;
  const why = whyStale(grant.token, now);
  if (why === undefined) return;
  const message = `authorization: this enrolment token ${why}; make one with \`berth token create\``;
  throw new BerthError("UNAUTHENTICATED", message);
}

/** Whether the token can still bind somebody. */
export function isUsable(grant: Grant, now: string): boolean {
  return grant.kind === "local" || whyStale(grant.token, now) === undefined;
}

/** Why a bound id is refused to whoever shows another identity; undefined when it is the same. */
export function whySecond(
  { identity }: StoredBinding,
  asked: EnrolmentRequest,
  subject: string,
): string | undefined {
  if (identity === asked.identity) return undefined;
  return `subject_id: ${asked.subjectId} is bound to another ${subject}; choose another id, or free this one first: berth delete ${subject} ${asked.subjectId}`;
}

function whyStale(token: StoredToken, now: string): string | undefined {
  if (isPast(token, now)) return `has expired on ${token.expiresAt}`;
  return isSpent(token) ? "is spent" : undefined;
}

/**
 * Throws PERMISSION_DENIED when a subject that has a key would get another one by a token that was made for
 * the first newcomer: whoever knows the subject's identity could take its place.
 */
export function refuseRekey(grant: Grant, { subjectId }: EnrolmentRequest, subject: string): void {
  if (grant.kind === "local" || grant.token.maxUses !== 1) return;
  if (grant.token.subjectId === subjectId) return;
  const message = `subject_id: ${subject} ${subjectId} has a key already; a new key for it needs a token that was made for ${subjectId}`;
  throw new BerthError("PERMISSION_DENIED", message);
}

/** The change of a token that binds one more key; one that is for a single use is its subject's from then on. */
export function spend(before: StoredToken, subjectId: string) {
  const bound = before.maxUses === 1 ? { subjectId } : {};
  return { id: before.id, before, after: { ...before, ...bound, uses: before.uses + 1 } };
}
