import type { NodeView } from "../nodes/node-view.ts";
import { aggregateMetrics } from "../telemetry/aggregate-metrics.ts";
import { nodeMetrics } from "../telemetry/node-metrics.ts";

/** A telemetry value that may have to be sent; its text is made only then. */
export interface TelemetryEntry {
  /** "metrics" or "node/<node id>". */
  readonly key: string;
  readonly revision: bigint;
  /** Age of the newest fact in it, ms. */
  readonly ageMs: number;
  readonly json: () => string;
}

/** A telemetry value as it is sent. */
export interface SentEntry {
  readonly key: string;
  readonly revision: bigint;
  readonly ageMs: number;
  readonly deleted: boolean;
  readonly json: string;
}

/**
 * The telemetry of a cluster: "metrics" (aggregates, `AggregateMetrics`) and "node/<id>" (`NodeMetrics`) for
 * each node. Revisions are the views' versions above `base`, that of the aggregates is `version`, which
 * never falls, also when a node is removed.
 */
export function telemetryEntries(
  views: readonly NodeView[],
  version: number,
  base: bigint,
): TelemetryEntry[] {
  const youngest = views.reduce((age, view) => Math.min(age, view.ageMs), Number.POSITIVE_INFINITY);
  const aggregate: TelemetryEntry = {
    key: "metrics",
    revision: base + BigInt(version),
    ageMs: Number.isFinite(youngest) ? youngest : 0,
    json: () => JSON.stringify(aggregateMetrics(views.map(nodeMetrics))),
  };
  const nodes = views.map((view) => ({
    key: `node/${view.id}`,
    revision: base + BigInt(view.version),
    ageMs: view.ageMs,
    json: () => JSON.stringify(nodeMetrics(view)),
  }));
  return [aggregate, ...nodes];
}

/** Remembers what one stream has sent, and gives what has changed since. */
export class TelemetryDelta {
  readonly #sent = new Map<string, bigint>();

  /** Entries that are new or changed since the last call, and deletions of those that are gone. */
  next(entries: readonly TelemetryEntry[]): SentEntry[] {
    const gone = new Map(this.#sent);
    const changed: SentEntry[] = [];
    for (const { key, revision, ageMs, json } of entries) {
      gone.delete(key);
      if (this.#sent.get(key) === revision) continue;
      this.#sent.set(key, revision);
      changed.push({ key, revision, ageMs, deleted: false, json: json() });
    }
    for (const [key, revision] of gone) {
      this.#sent.delete(key);
      changed.push({ key, revision: revision + 1n, ageMs: 0, deleted: true, json: "" });
    }
    return changed;
  }
}
