import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SeriesRing } from "./series-ring.ts";

const SLOTS = 4;

/** As 64 bits give it back. */
const rounded = (value: number) =>
  Number.isInteger(value) ? value : Number(value.toPrecision(15));

describe("SeriesRing", () => {
  it("gives the newest readings of each series, the oldest first", () => {
    const ring = new SeriesRing(new Float64Array(2 * SLOTS), 2);
    for (let slot = 10; slot < 16; slot += 1) ring.record(slot, [slot, -slot]);
    expect(ring.newest).toBe(15);
    expect(ring.read(0, 15, SLOTS)).toEqual([12, 13, 14, 15]);
    expect(ring.read(1, 15, 2)).toEqual([-14, -15]);
  });

  it("does not know slots without a reading, nor those before and behind", () => {
    const ring = new SeriesRing(new Float64Array(SLOTS), 1);
    expect(ring.newest).toBeUndefined();
    expect(ring.read(0, 3, 2)).toEqual([null, null]);
    ring.record(1, [1]);
    ring.record(3, [3]);
    expect(ring.read(0, 4, SLOTS)).toEqual([1, null, 3, null]);
    expect(ring.read(0, 3, SLOTS)).toEqual([null, 1, null, 3]);
  });

  it("keeps nothing of before a gap that is longer than itself", () => {
    const ring = new SeriesRing(new Float64Array(SLOTS), 1);
    for (const slot of [1, 2, 3, 4]) ring.record(slot, [slot]);
    ring.record(1_000_000_000, [7]);
    expect(ring.read(0, 1_000_000_000, SLOTS)).toEqual([null, null, null, 7]);
  });

  it("replaces the newest reading, and takes none of before", () => {
    const ring = new SeriesRing(new Float64Array(SLOTS), 1);
    ring.record(5, [1]);
    ring.record(5, [2]);
    ring.record(4, [3]);
    expect(ring.read(0, 5, 2)).toEqual([null, 2]);
  });

  it("keeps unknown and infinite readings as unknown", () => {
    const ring = new SeriesRing(new Float32Array(3 * SLOTS), 3);
    ring.record(0, [null, 1e300, 0.5]);
    expect([0, 1, 2].map((series) => ring.read(series, 0, 1)[0])).toEqual([null, null, 0.5]);
  });

  it("gives back what was measured, though 32 bits keep it with noise behind it", () => {
    const measured = [17.2, 21.7, 285.6, 2_679.8, 0.1, 732_713, 2_097_152, 16_777_215, 100 / 3, 0];
    const [narrow, wide] = [new Float32Array(measured.length), new Float64Array(measured.length)];
    const [ring, wideRing] = [new SeriesRing(narrow, measured.length), new SeriesRing(wide, 10)];
    ring.record(0, measured);
    wideRing.record(0, measured);
    const read = (one: SeriesRing) => measured.map((_none, series) => one.read(series, 0, 1)[0]);
    expect(read(ring)).toEqual(measured.with(8, 33.33333));
    expect(read(wideRing)).toEqual(measured.with(8, 33.3333333333333));
    wideRing.record(0, [0.1 + 0.2]);
    expect(wideRing.read(0, 0, 1)).toEqual([0.3]);
  });

  it("gives back every number of six digits, and every whole one that 32 bits hold", () => {
    const digits = fc.tuple(
      fc.integer({ min: -999_999, max: 999_999 }),
      fc.integer({ max: 0, min: -6 }),
    );
    const fractions = digits.map(([whole, power]) => Number(`${whole}e${power}`));
    const wholes = fc.integer({ min: -16_777_216, max: 16_777_216 });
    fc.assert(
      fc.property(fc.oneof(fractions, wholes), (value) => {
        const ring = new SeriesRing(new Float32Array(1), 1);
        ring.record(0, [value]);
        expect(ring.read(0, 0, 1)[0]).toBe(value === 0 ? 0 : value);
      }),
    );
  });

  it("is what a table of the newest slots would be", () => {
    const reading = fc.option(fc.double({ noDefaultInfinity: true, noNaN: true }));
    const steps = fc.array(fc.tuple(fc.nat(6), reading), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(steps, (taken) => {
        const ring = new SeriesRing(new Float64Array(SLOTS), 1);
        const table = new Map<number, number | null>();
        let slot = 0;
        for (const [ahead, value] of taken) {
          slot += ahead;
          ring.record(slot, [value]);
          table.set(slot, value);
        }
        const told = (value: number | null) => (value === null ? null : rounded(value));
        const wanted = [3, 2, 1, 0].map((before) => told(table.get(slot - before) ?? null));
        expect(ring.read(0, slot, SLOTS)).toEqual(wanted);
      }),
    );
  });
});
