import fc from "fast-check";

/**
 * Any text of up to `maxLength` UTF-16 units, halves of pairs and control characters included. (The unit
 * "binary" of fast-check takes seconds to build.)
 */
export function anyText(maxLength: number): fc.Arbitrary<string> {
  const units = fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength });
  return units.map((codes) => String.fromCharCode(...codes));
}
