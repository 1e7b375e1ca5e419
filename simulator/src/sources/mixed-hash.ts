import { createHash } from "node:crypto";

/** A well-mixed 32-bit number of a seed and a counter (the finalizer of MurmurHash3, public domain). */
export function mixedHash(seed: number, counter: number): number {
  let mixed = (seed ^ Math.imul(counter + 1, 0x9e37_79b1)) >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85eb_ca6b) >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35) >>> 0;
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** The same as a share, in [0, 1). */
export function mixedShare(seed: number, counter: number): number {
  return mixedHash(seed, counter) / 2 ** 32;
}

/** A 32-bit seed of a text. */
export function seedOf(text: string): number {
  return createHash("sha256").update(text).digest().readUInt32BE(0);
}

/** 32 hexadecimal digits of a text, in the form of a machine id. */
export function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}

/** A UUID's five groups, made of a text. */
export function uuidOf(text: string): string {
  return digestOf(text).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
