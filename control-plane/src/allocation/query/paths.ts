import { isJsonObject } from "@berth/service-kit";

/**
 * Values of a dotted path in a document, as MongoDB finds them: arrays on the way are descended, and an
 * array at the end gives itself and its elements. Empty when the path leads nowhere.
 */
export function valuesAt(document: unknown, path: readonly string[]): readonly unknown[] {
  const [key, ...rest] = path;
  if (key === undefined) return Array.isArray(document) ? [document, ...document] : [document];
  if (Array.isArray(document)) {
    const element = /^\d+$/.test(key) ? valuesAt(document[Number(key)], rest) : [];
    return [
      ...element,
      ...document.flatMap((item) => (isJsonObject(item) ? valuesAt(item, path) : [])),
    ];
  }
  if (!isJsonObject(document) || !Object.hasOwn(document, key)) return [];
  return valuesAt(document[key], rest);
}

/** The scalars at a dotted path with every array on the way and at the end flattened. */
export function leavesAt(document: unknown, path: readonly string[]): readonly unknown[] {
  if (Array.isArray(document)) return document.flatMap((item) => leavesAt(item, path));
  const [key, ...rest] = path;
  if (key === undefined) return document === undefined ? [] : [document];
  if (!isJsonObject(document) || !Object.hasOwn(document, key)) return [];
  return leavesAt(document[key], rest);
}
