import type { Clock } from "@berth/service-kit";
import type { FleetBlocks } from "../../fleet/agent-api.ts";
import type { ClusterRegistry } from "../../fleet/cluster-registry.ts";
import type { ClusterView, FleetSnapshot } from "../../fleet/cluster-view.ts";
import { ownersOf } from "../profiles/quota-owners.ts";
import type { KeptQuota, ObservedReplicas } from "../quotas/quota.ts";
import type { QuotaBook } from "../quotas/quota-book.ts";
import { type AttributedUsage, attributedUsage } from "./attribution.ts";
import { observedReplicas } from "./observed-replicas.ts";
import type { ReportedUsage, UsageBook } from "./usage-book.ts";

/** Reported usage that is older gives way to what telemetry tells, and is marked stale, ms. */
export const FRESH_MS = 60_000;

/** What {@link SubjectUsage} looks at. */
export interface SubjectUsageDeps {
  readonly orgId: string;
  readonly book: UsageBook;
  readonly quotas: Pick<QuotaBook, "all" | "ofSubject">;
  readonly clusters: Pick<ClusterRegistry, "snapshot">;
  /** Clusters that had an agent before this program's start, and were not heard since. */
  readonly unheard: () => Promise<readonly string[]>;
  readonly blocks: FleetBlocks;
  readonly clock: Pick<Clock, "nowMs">;
}

/** Usage of one subject as clients read it, in the seed's shape. */
export interface SubjectMetrics {
  readonly subject_id: string;
  readonly org_id: string;
  /** Cores. */
  readonly cpu_usage: number | null;
  /** MB. */
  readonly memory_usage: number | null;
  /** GPUs that are busy. */
  readonly gpu_usage: number | null;
  readonly replicas_reported: number | null;
  /** Who measured: the webhook's sender, or "telemetry", which attributes by allocations. */
  readonly source: string;
  /** Null when nothing was measured yet. */
  readonly age_seconds: number | null;
  readonly stale: boolean;
}

/** The usage of all subjects and the replicas of all quotas, at one moment. */
export interface UsageView {
  /** In the order of their ids. */
  readonly subjects: ReadonlyMap<string, SubjectMetrics>;
  /** Replicas of a quota that are seen; undefined when nobody tells. */
  observed(kept: KeptQuota): ObservedReplicas | undefined;
}

/** What the subjects of an org use, by what they report and by telemetry. It never writes anything. */
export class SubjectUsage {
  readonly #deps: SubjectUsageDeps;

  constructor(deps: SubjectUsageDeps) {
    this.#deps = deps;
  }

  /** Tells of each quota how many of its replicas are seen now. */
  async observer(): Promise<UsageView["observed"]> {
    const { orgId, clusters, unheard } = this.#deps;
    return this.#observer(await clusters.snapshot(orgId), await unheard());
  }

  /** How it stands now. */
  async view(): Promise<UsageView> {
    const { orgId, book, quotas, clusters, unheard, blocks, clock } = this.#deps;
    const snapshot = await clusters.snapshot(orgId);
    const away = await unheard();
    const nowMs = clock.nowMs();
    const owners = ownersOf(quotas.all());
    const scenes = blocks.all().map((one) => ({
      blocks: one,
      view: snapshot.clusters.get(one.clusterId),
    }));
    const attributed = attributedUsage(
      scenes,
      (clusterId, blockId) => owners.quotaOfBlock(clusterId, blockId)?.quota.subjectId || undefined,
    );
    const observed = this.#observer(snapshot, away);
    const ids = new Set([...book.ids(nowMs), ...attributed.keys()]);
    const seenOf = (subjectId: string) => {
      const seen = (owners.bySubject.get(subjectId) ?? []).flatMap((kept) => observed(kept) ?? []);
      return seen.length === 0 ? null : seen.reduce((sum, { replicas }) => sum + replicas, 0);
    };
    const metrics = [...ids].sort().map((id) => {
      const known = { orgId, reported: book.of(id, nowMs), attributed: attributed.get(id) };
      return [id, subjectMetrics(id, { ...known, replicas: seenOf(id), nowMs })] as const;
    });
    return { subjects: new Map(metrics), observed };
  }

  #observer(snapshot: FleetSnapshot, unheard: readonly string[]): UsageView["observed"] {
    const { book, quotas, blocks, clock } = this.#deps;
    const nowMs = clock.nowMs();
    const isWhole = unheard.length === 0;
    const reportedAtMs = (clusterId: string) => reportedAt(snapshot, clusterId);
    // What a subject reports is of its quota where it has this one alone; most report no replicas at all.
    const reportedOf = (subjectId: string) => {
      const reported = book.of(subjectId, nowMs);
      if (reported?.replicas === undefined) return undefined;
      return quotas.ofSubject(subjectId).length === 1 ? reported : undefined;
    };
    return ({ quota }) => {
      const reported = reportedOf(quota.subjectId);
      return observedReplicas(quota, { blocks, isWhole, reportedAtMs, reported, nowMs });
    };
  }
}

function subjectMetrics(
  subjectId: string,
  {
    orgId,
    reported,
    attributed,
    replicas,
    nowMs,
  }: {
    readonly orgId: string;
    readonly reported: ReportedUsage | undefined;
    readonly attributed: AttributedUsage | undefined;
    /** Of its quotas' blocks. */
    readonly replicas: number | null;
    readonly nowMs: number;
  },
): SubjectMetrics {
  const isFresh = reported !== undefined && nowMs - reported.atMs <= FRESH_MS;
  const isReported = reported !== undefined && (isFresh || attributed === undefined);
  const [first, second] = isReported ? [reported, attributed] : [attributed, undefined];
  const atMs = first?.atMs;
  const ageMs = atMs === undefined ? null : Math.max(0, nowMs - atMs);
  return {
    subject_id: subjectId,
    org_id: orgId,
    cpu_usage: rounded(first?.cpuUsage ?? second?.cpuUsage),
    memory_usage: rounded(first?.memoryUsage ?? second?.memoryUsage),
    gpu_usage: rounded(first?.gpuUsage ?? second?.gpuUsage),
    replicas_reported: (isReported ? reported.replicas : undefined) ?? replicas,
    source: isReported ? reported.source : "telemetry",
    age_seconds: ageMs === null ? null : Math.round(ageMs / 1_000),
    stale: ageMs === null || ageMs > FRESH_MS,
  };
}

function reportedAt({ clusters }: FleetSnapshot, clusterId: string): number | undefined {
  const view: ClusterView | undefined = clusters.get(clusterId);
  return view?.reportedAtMs ?? undefined;
}

/** Three decimals, as sums of shares have many. */
function rounded(value: number | undefined): number | null {
  return value === undefined ? null : Math.round(value * 1_000) / 1_000;
}
