import { createHmac, timingSafeEqual } from "node:crypto";
import { BerthError } from "@berth/service-kit";

/** Header of a signature: `t=1763900000,v1=<hex>`. */
export const SIGNATURE_HEADER = "x-berth-signature";

/** How far the time of a signature may be off, seconds: a captured request cannot be sent again for longer. */
const TOLERANCE_SECONDS = 300;
const FORM = /^t=(\d{1,12}),v1=([0-9a-f]{64})$/;

/** What a signature is checked against. */
export interface SignedRequest {
  /** Value of {@link SIGNATURE_HEADER}; undefined without one. */
  readonly signature: string | undefined;
  /** The body as it came. */
  readonly bodyText: string;
  /** Each may have been used, so that one can be changed without a gap; none = nothing is checked. */
  readonly secrets: readonly string[];
  readonly nowMs: number;
}

/**
 * Checks that a request was made by one who knows a secret: HMAC-SHA256, in hex, of `<t>.<body>` where t is the time in
 * seconds since 1970. UNAUTHENTICATED says what is wrong.
 */
export function checkSignature({ signature, bodyText, secrets, nowMs }: SignedRequest): void {
  if (secrets.length === 0) return;
  const found = FORM.exec(signature ?? "");
  if (found === null) throw refused(`expected t=<seconds since 1970>,v1=<hex of HMAC-SHA256>`);
  const [, time = "", digest = ""] = found;
  if (Math.abs(nowMs / 1_000 - Number(time)) > TOLERANCE_SECONDS) {
    throw refused(`its time is more than ${TOLERANCE_SECONDS} s off`);
  }
  const given = Buffer.from(digest, "hex");
  const isRight = secrets.some((secret) =>
    timingSafeEqual(given, createHmac("sha256", secret).update(`${time}.${bodyText}`).digest()),
  );
  if (!isRight) throw refused("it does not fit the body");
}

/** The header's value for a body, as senders make it. */
export function signatureOf(bodyText: string, secret: string, nowMs: number): string {
  const time = Math.floor(nowMs / 1_000);
  return `t=${time},v1=${createHmac("sha256", secret).update(`${time}.${bodyText}`).digest("hex")}`;
}

function refused(why: string): BerthError {
  return new BerthError("UNAUTHENTICATED", `${SIGNATURE_HEADER}: ${why}`);
}
