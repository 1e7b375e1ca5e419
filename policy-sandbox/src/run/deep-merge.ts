import { isJsonObject } from "@berth/service-kit";

/** Defaults with the request's values over them; objects are merged, everything else is replaced. */
export function deepMerge(
  defaults: Readonly<Record<string, unknown>>,
  overrides: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const merged: Record<string, unknown> = { ...defaults };
  for (const [key, value] of Object.entries(overrides)) {
    const current = Object.hasOwn(merged, key) ? merged[key] : undefined;
    const next = isJsonObject(current) && isJsonObject(value) ? deepMerge(current, value) : value;
    Object.defineProperty(merged, key, {
      value: next,
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return merged;
}
