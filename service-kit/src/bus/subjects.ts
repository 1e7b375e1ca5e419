import { BerthError } from "../errors.ts";
import type { OutgoingMessage, SubscribeOptions } from "./bus.ts";

/** Longest text of a message, in bytes of UTF-8. */
export const MAX_TEXT_BYTES = 512 * 1024;

const LONGEST_NAME = 200;

/** Throws INVALID_ARGUMENT or PAYLOAD_TOO_LARGE when a message may not be published. Gives its bytes. */
export function checkOutgoing(message: OutgoingMessage): number {
  checkTokens(message.subject);
  if (hasWildcard(message.subject)) {
    throw invalid(`subject must have no wildcard in publish, but is ${shown(message.subject)}`);
  }
  if (message.id !== undefined) checkName("id", message.id);
  const bytes = Buffer.byteLength(message.text);
  if (bytes > MAX_TEXT_BYTES) {
    throw new BerthError(
      "PAYLOAD_TOO_LARGE",
      `text must have at most ${MAX_TEXT_BYTES} bytes, but has ${bytes}`,
    );
  }
  return bytes;
}

/** Throws INVALID_ARGUMENT when the subject or the name of a subscription is wrong. */
export function checkSubscription(options: Pick<SubscribeOptions, "subject" | "name">): void {
  checkTokens(options.subject);
  const tokens = options.subject.split(".");
  const isWrong = tokens.some((token, at) =>
    token === ">" ? at < tokens.length - 1 : token !== "*" && hasWildcard(token),
  );
  if (isWrong) {
    throw invalid(
      `subject must have * as a whole token and > as the last one, but is ${shown(options.subject)}`,
    );
  }
  if (options.name !== undefined) checkName("name", options.name);
}

/**
 * Whether everything that fits `inner` fits `outer`; for a subject without wildcards: whether it fits.
 */
export function covers(outer: string, inner: string): boolean {
  const wide = outer.split(".");
  const narrow = inner.split(".");
  for (const [at, token] of wide.entries()) {
    const found = narrow[at];
    if (found === undefined) return false;
    if (token === ">") return true;
    if (found === ">") return false;
    if (token !== "*" && token !== found) return false;
  }
  return wide.length === narrow.length;
}

function checkTokens(subject: string): void {
  const isRight = subject.split(".").every((token) => /^[^\s\p{Cc}]{1,200}$/u.test(token));
  if (isRight) return;
  throw invalid(
    `subject must be tokens of 1-200 characters without whitespace, with dots between them, but is ${shown(subject)}`,
  );
}

function checkName(field: string, value: string): void {
  if (value.length >= 1 && value.length <= LONGEST_NAME && /^[\x21-\x7e]+$/.test(value)) return;
  throw invalid(
    `${field} must be 1-${LONGEST_NAME} visible ASCII characters without spaces, but is ${shown(value)}`,
  );
}

function hasWildcard(text: string): boolean {
  return /[*>]/.test(text);
}

function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
