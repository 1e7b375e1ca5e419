import { BerthError, typeName } from "@berth/service-kit";

/** Most replicas of one quota. */
export const MAX_REPLICAS = 100_000;

/** Reads a count of replicas, a whole number or its decimal text. INVALID_ARGUMENT names the field. */
export function readReplicas(field: string, value: unknown): number {
  const isText = typeof value === "string" && /^\d{1,6}$/.test(value);
  const count = typeof value === "number" || isText ? Number(value) : Number.NaN;
  if (Number.isInteger(count) && count >= 0 && count <= MAX_REPLICAS) return count;
  const message = `${field}: expected a whole number from 0 to ${MAX_REPLICAS}, as such or as text, got ${shown(value)}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}

function shown(value: unknown): string {
  const isPlain = typeof value === "string" || typeof value === "number";
  return isPlain ? JSON.stringify(value).slice(0, 40) : typeName(value);
}
