import { endOfString } from "@berth/service-kit";

const NUMBER = /-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?/y;
const INTEGER = /^-?\d+$/;

/** Where a JSON text first has a number with a fraction or an exponent that no double holds. */
export function numberBeyondDouble(json: string): number | undefined {
  for (let at = 0; at < json.length; at += 1) {
    if (json[at] === '"') {
      at = endOfString(json, at) - 1;
      continue;
    }
    NUMBER.lastIndex = at;
    const [number] = NUMBER.exec(json) ?? [];
    if (number === undefined) continue;
    if (!INTEGER.test(number) && !Number.isFinite(Number(number))) return at;
    at += number.length - 1;
  }
  return undefined;
}
