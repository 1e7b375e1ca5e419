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

/** What the ids of one owner are drawn from: 128 bits of a text that nobody else has. */
export type IdSeed = readonly [number, number, number, number];

/** The {@link IdSeed} of a text. */
export function idSeedOf(text: string): IdSeed {
  const digest = createHash("sha256").update(text).digest();
  const word = (at: number) => digest.readUInt32BE(4 * at);
  return [word(0), word(1), word(2), word(3)];
}

/** A UUID's five groups of a seed and a number, without another digest for each. */
export function uuidOf(seed: IdSeed, number: number): string {
  const word = (at: 0 | 1 | 2 | 3) => {
    return mixedHash(seed[at], number).toString(16).padStart(8, "0");
  };
  const [b, c] = [word(1), word(2)];
  return `${word(0)}-${b.slice(0, 4)}-${b.slice(4)}-${c.slice(0, 4)}-${c.slice(4)}${word(3)}`;
}
