import { createHash, randomBytes } from "node:crypto";
import { BerthError } from "../errors.ts";

/** What an enrolment token's text holds. */
export interface EnrolmentToken {
  /** 43 base64url characters: 32 random bytes. */
  readonly secret: string;
  /** SHA-256 of the DER of the server's CA certificate, 43 base64url characters; absent without TLS. */
  readonly caPin?: string;
}

const PREFIX = "berth1";
const PART = /^[A-Za-z0-9_-]{43}$/;
const BEARER = /^Bearer (.+)$/;

/** A new secret of 256 bits as 43 base64url characters, for a token or a key. */
export function newSecret(): string {
  return randomBytes(32).toString("base64url");
}

/** Whether a text has the form of {@link newSecret}. */
export function isSecret(text: string): boolean {
  return PART.test(text);
}

/** SHA-256 of a text's UTF-8 bytes, or of bytes. */
export function sha256(data: string | Uint8Array): Buffer {
  return createHash("sha256").update(data).digest();
}

/** {@link sha256} in hex, as the store keeps it. */
export function sha256Hex(data: string | Uint8Array): string {
  return sha256(data).toString("hex");
}

/** Text of a token: `berth1.<secret>`, with TLS `berth1.<secret>.<pin of the CA>`. */
export function formatToken(token: EnrolmentToken): string {
  const parts = [PREFIX, token.secret, ...(token.caPin === undefined ? [] : [token.caPin])];
  return parts.join(".");
}

/** Reads a token's text; undefined when it is none. Its value belongs in no message. */
export function parseToken(text: string): EnrolmentToken | undefined {
  const [prefix, secret, caPin, ...rest] = text.trim().split(".");
  if (prefix !== PREFIX || secret === undefined || !PART.test(secret) || rest.length > 0) {
    return undefined;
  }
  if (caPin === undefined) return { secret };
  return PART.test(caPin) ? { secret, caPin } : undefined;
}

/**
 * {@link parseToken} for a setting: INVALID_ARGUMENT names it ("BERTH_ENROLMENT_TOKEN") and shows
 * nothing of the text.
 */
export function requireToken(setting: string, text: string): EnrolmentToken {
  const token = parseToken(text);
  if (token !== undefined) return token;
  const message = `${setting}: expected an enrolment token as \`berth token create\` prints it: berth1.… with one or two parts of 43 characters`;
  throw new BerthError("INVALID_ARGUMENT", message);
}

/** The secret in `authorization: Bearer <secret or token>`; undefined when it is not well formed. */
export function bearerSecret(authorization: string | undefined): string | undefined {
  const text = BEARER.exec(authorization ?? "")?.[1];
  if (text === undefined) return undefined;
  return PART.test(text) ? text : parseToken(text)?.secret;
}
