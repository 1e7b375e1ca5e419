import { Quality } from "@berth/proto";

const NAMES = new Map<number, string>(
  Object.entries(Quality).map(([name, value]) => [value, name.toLowerCase()]),
);

/** Name of a quality as metrics and people know it: "measured"; "unspecified" for a number without one. */
export function qualityName(quality: Quality): string {
  return NAMES.get(quality) ?? "unspecified";
}
