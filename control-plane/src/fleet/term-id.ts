import { createHmac, timingSafeEqual } from "node:crypto";

/** Numbers are exact in a double. */
const TERM_ID = /^([1-9][0-9]{0,14})\.([0-9a-f-]{36})\.([A-Za-z0-9_-]{43})$/;

/** What a term id names: a stretch of the time in which one start of the control-plane works. */
export interface Stretch {
  /** Counted from 1 over all starts. */
  readonly number: number;
  /** UUID of the start. */
  readonly start: string;
}

/** The id of a stretch: "<number>.<start>.<HMAC-SHA256 of both>", at most 96 characters. */
export function termIdOf(key: Buffer, stretch: Stretch): string {
  return `${stretch.number}.${stretch.start}.${proofOf(key, stretch)}`;
}

/** The stretch that an id names, proven or not; undefined when it has not the shape of an id. */
export function stretchOf(termId: string): Stretch | undefined {
  return split(termId)?.stretch;
}

/** Whether an id was made with this key. */
export function isTermIdProven(key: Buffer, termId: string): boolean {
  const parts = split(termId);
  if (parts === undefined) return false;
  return timingSafeEqual(Buffer.from(parts.proof), Buffer.from(proofOf(key, parts.stretch)));
}

function split(termId: string): { readonly stretch: Stretch; readonly proof: string } | undefined {
  const [, number, start, proof] = TERM_ID.exec(termId) ?? [];
  if (number === undefined || start === undefined || proof === undefined) return undefined;
  return { stretch: { number: Number(number), start }, proof };
}

function proofOf(key: Buffer, { number, start }: Stretch): string {
  return createHmac("sha256", key).update(`${number}|${start}`).digest("base64url");
}
