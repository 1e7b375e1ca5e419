import { createHash } from "node:crypto";
import type { InstanceSpec } from "./runtime.ts";

/**
 * SHA-256 in hex of what an instance runs and with what: the same for specs that differ in the order of their keys, or in
 * who ordered them.
 */
export function specDigest(spec: InstanceSpec): string {
  const { ownership: _whoOrdered, ...what } = spec;
  return createHash("sha256").update(canonical(what)).digest("hex");
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
