import { isJsonObject } from "@berth/service-kit";
import type { ClusterView } from "../fleet/cluster-view.ts";

/**
 * The `input_data` of an allocator policy as JSON text: the candidates' documents and metrics, numbers
 * as their owners wrote them, and the client's inputs. `metrics` is `cluster_metrics` once more, for
 * policies of the existing deployment.
 */
export function policyInputJson(candidates: readonly ClusterView[], inputsJson: string): string {
  const entries = candidates.map(({ id, documentJson, metricsJson }) => {
    const metrics = metricsJson ?? "null";
    return `${JSON.stringify(id)}:{"data":${documentJson},"cluster_metrics":${metrics},"metrics":${metrics}}`;
  });
  return `{"cluster_data":{${entries.join(",")}},"inputs":${inputsJson}}`;
}

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
