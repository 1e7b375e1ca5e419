import { timingSafeEqual } from "node:crypto";
import { BerthError } from "./errors.ts";

/** Who asks. Every transport makes one before it does anything, and every store call takes its org. */
export interface Principal {
  /** Organization whose records the caller sees and changes. */
  readonly orgId: string;
  /** What the caller may do. */
  readonly role: "admin" | "agent";
}

/** What a transport knows of a caller. */
export interface Credentials {
  /** The `authorization` header. */
  readonly authorization?: string | undefined;
}

/** Decides who a caller is; throws UNAUTHENTICATED when the credential does not hold. */
export type Authenticate = (credentials: Credentials) => Principal;

/** Lets every caller of a loopback port in as administrator of one org. Host and Origin are checked apart. */
export function loopbackAuthenticator(orgId: string): Authenticate {
  return () => ({ orgId, role: "admin" });
}

/**
 * Lets in callers with `authorization: Bearer <token>`, as agents of one org. Throws INVALID_ARGUMENT
 * for an empty token, which every caller would hold.
 */
export function tokenAuthenticator(orgId: string, token: string): Authenticate {
  if (token === "") throw new BerthError("INVALID_ARGUMENT", "token: expected a non-empty text");
  const wanted = Buffer.from(`Bearer ${token}`);
  return ({ authorization }) => {
    const given = Buffer.from(authorization ?? "");
    if (given.length === wanted.length && timingSafeEqual(given, wanted)) {
      return { orgId, role: "agent" };
    }
    throw new BerthError("UNAUTHENTICATED", "authorization: expected a valid bearer token");
  };
}
