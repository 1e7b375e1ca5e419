import type { AggregateMetrics, ClusterTotals } from "@berth/proto";
import { type Clock, isJsonObject } from "@berth/service-kit";
import { clusterTotals } from "../fleet/cluster-totals.ts";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { withLazyTotals } from "../fleet/lazy-totals.ts";
import { MetricsColumns } from "./metrics-columns.ts";

/** Most parts of a flattened key that are taken apart: "disks.memory.freeMem" has three. */
const MAX_KEY_PARTS = 8;

/**
 * The global metrics of one cluster at one moment: the nested document that its agent sends, and beside it the
 * totals, the health and, with a clock, the age. What is made from the view is made when it is asked for, once.
 */
export class MetricsDocument {
  readonly view: ClusterView;
  /** The document as queries see it; its members are read when a condition asks for them. */
  readonly fields: object;
  /** Values of the document by path, but for the age. */
  readonly columns: MetricsColumns;
  readonly #clock: Pick<Clock, "nowMs"> | undefined;
  #totals: ClusterTotals | undefined;
  #groups: Readonly<Record<string, unknown>> | undefined;

  constructor(view: ClusterView, clock?: Pick<Clock, "nowMs">) {
    this.view = view;
    this.#clock = clock;
    this.fields = this.#asFields();
    this.columns = new MetricsColumns(this.fields);
  }

  /** Totals of the cluster. */
  get totals(): ClusterTotals {
    this.#totals ??= clusterTotals(this.view);
    return this.#totals;
  }

  /** Age of the newest telemetry, ms; null when there never was any, or without a clock. */
  get ageMs(): number | null {
    const { reportedAtMs } = this.view;
    if (reportedAtMs === null || this.#clock === undefined) return null;
    return Math.max(0, Math.round(this.#clock.nowMs() - reportedAtMs));
  }

  /**
   * The document as JSON text; what came as text goes out as it was written, numbers above all.
   * `{"clusterId","cluster","nodes","total_cpu",…,"health","age_ms"}`
   */
  json(): string {
    const { id, health, metricsJson } = this.view;
    const reported =
      metricsJson ??
      JSON.stringify({ clusterId: id, cluster: {}, nodes: [], ...this.totals, health });
    return `${reported.slice(0, -1)},"age_ms":${this.ageMs}}`;
  }

  #asFields(): object {
    const { id, health, metrics } = this.view;
    const nodes = metrics?.nodes ?? [];
    const groups = () => this.#nestedGroups(metrics?.cluster ?? {});
    const age = () => this.ageMs;
    const fields = {
      clusterId: id,
      health,
      nodes,
      // In-cluster clients know the nodes by this name.
      node_metrics: nodes,
      get cluster() {
        return groups();
      },
      get age_ms() {
        return age();
      },
    };
    return withLazyTotals(fields, () => this.totals);
  }

  #nestedGroups(cluster: AggregateMetrics): Readonly<Record<string, unknown>> {
    this.#groups ??= Object.fromEntries(
      Object.entries(cluster).map(([name, group]) => [name, nested(group)]),
    );
    return this.#groups;
  }
}

/**
 * A group in which flattened keys ("disks.memory.freeMem") are also what a dotted path leads to. A key that
 * stands there as it is hides flattened ones.
 */
function nested(group: unknown): unknown {
  if (!isJsonObject(group)) return group;
  const flattened = Object.keys(group).filter((key) => key.includes("."));
  if (flattened.length === 0) return group;
  const result: Record<string, unknown> = { ...group };
  const made = new Set<unknown>([result]);
  for (const key of flattened) place(result, key.split("."), { made, value: group[key] });
  return result;
}

function place(
  root: Record<string, unknown>,
  parts: readonly string[],
  { made, value }: { readonly made: Set<unknown>; readonly value: unknown },
): void {
  if (parts.length > MAX_KEY_PARTS || parts.includes("__proto__")) return;
  let at = root;
  for (const part of parts.slice(0, -1)) {
    if (!Object.hasOwn(at, part)) {
      at[part] = {};
      made.add(at[part]);
    }
    const next = at[part];
    if (!isJsonObject(next) || !made.has(next)) return;
    at = next;
  }
  const last = parts.at(-1) ?? "";
  if (!Object.hasOwn(at, last)) at[last] = value;
}
