import { type Clock, type Logger, type Pacer, toBerthError } from "@berth/service-kit";
import type { GlobalMetrics } from "../../metrics/global-metrics.ts";
import type { MetricsDocument } from "../../metrics/global-metrics-document.ts";
import { MetricsSummer } from "../../metrics/global-metrics-sum.ts";
import type { ChargeBook } from "../charges/charge-book.ts";
import { ownersOf } from "../profiles/quota-owners.ts";
import { type KeptQuota, quotaDocument } from "../quotas/quota.ts";
import type { QuotaBook } from "../quotas/quota-book.ts";
import { type Subject, subjectDocument } from "../subjects/subject.ts";
import type { SubjectBook } from "../subjects/subject-book.ts";
import type { SubjectUsage, UsageView } from "../usage/subject-usage.ts";

/** What {@link MetricsReport} is made from. */
export interface MetricsReportDeps {
  readonly orgId: string;
  readonly metrics: Pick<GlobalMetrics, "query">;
  /** Clusters that had an agent before this program's start, and were not heard since. */
  readonly unheard: () => Promise<readonly string[]>;
  readonly quotas: Pick<QuotaBook, "all">;
  readonly charges: Pick<ChargeBook, "usedBy">;
  readonly subjects: Pick<SubjectBook, "all" | "find">;
  readonly usage: Pick<SubjectUsage, "view">;
  readonly clock: Pick<Clock, "timestamp">;
  /** Lets others have their turn while a large report is written. */
  readonly pace: Pacer;
  readonly logger: Logger;
}

/** How a source of the report stands. */
interface Source {
  readonly ok: boolean;
  /** What is wrong with it, for people; absent when nothing is. */
  readonly error?: string;
  readonly [more: string]: unknown;
}

/** A part of the report, and the source that it is from. */
interface Part {
  /** Members of a JSON object by name, as JSON text. */
  readonly members: ReadonlyMap<string, string>;
  readonly source: Source;
}

/** Writes members of a part down, one after the other. */
type Writing = Generator<void, Part>;

/**
 * The consolidated report of an org, in the seed's shape: totals over its clusters, metadata and usage of its subjects, and
 * beside these their quotas and the totals of each cluster. A source that fails is named in `sources`, and its part empty.
 */
export class MetricsReport {
  readonly #deps: MetricsReportDeps;
  #making: Promise<string> | undefined;
  /** The report that is made behind that one. */
  #next: Promise<string> | undefined;
  /** Sources whose failure is in the log already. */
  readonly #failing = new Set<string>();

  constructor(deps: MetricsReportDeps) {
    this.#deps = deps;
  }

  /**
   * The report as it stands now, `{"success": true, "data": …}` as JSON text. All who ask while one is made get the same one, which is
   * begun behind it, so that it has what they have just written.
   */
  text(): Promise<string> {
    if (this.#making === undefined) return this.#begin();
    const behind = () => {
      this.#next = undefined;
      return this.#making ?? this.#begin();
    };
    this.#next ??= this.#making.then(behind, behind);
    return this.#next;
  }

  #begin(): Promise<string> {
    this.#making = this.#make().finally(() => {
      this.#making = undefined;
    });
    return this.#making;
  }

  async #make(): Promise<string> {
    const clusters = await this.#part("clusters", (signal) => this.#clusters(signal));
    let view: UsageView | undefined;
    const usage = await this.#part("subject_metrics", async () => {
      view = await this.#deps.usage.view();
      return usageOf(view);
    });
    const metadata = await this.#part("subjects", async () => this.#metadata());
    const quotas = await this.#part("quotas", async () => this.#quotas(view));
    const sources = {
      ...{ clusters: clusters.source, quotas: quotas.source },
      ...{ subjects: metadata.source, subject_metrics: usage.source },
    };
    const generatedAt = JSON.stringify(this.#deps.clock.timestamp());
    const total = clusters.members.get("") ?? "{}";
    const subjects = `{"data":${objectText(metadata)},"metrics":${objectText(usage)},"quotas":${objectText(quotas)}}`;
    const report = `{"cluster_metrics":${total},"subjects":${subjects},"clusters":${objectText(clusters)},"generated_at":${generatedAt},"sources":${JSON.stringify(sources)}}`;
    return `{"success":true,"data":${report}}`;
  }

  async #part(name: string, begin: (signal: AbortSignal) => Promise<Writing>): Promise<Part> {
    const { signal } = new AbortController();
    try {
      const part = await this.#deps.pace.run(await begin(signal), signal);
      this.#failing.delete(name);
      return part;
    } catch (err) {
      if (!this.#failing.has(name)) {
        this.#deps.logger.error("a source of the report fails", { source: name, err });
      }
      this.#failing.add(name);
      return { members: new Map(), source: { ok: false, error: toBerthError(err).message } };
    }
  }

  async #clusters(signal: AbortSignal): Promise<Writing> {
    const { orgId, metrics, unheard } = this.#deps;
    return clustersOf(await metrics.query({ orgId, filter: {}, signal }), await unheard());
  }

  /** Of all subjects that are known, and of those that have quotas. */
  *#metadata(): Writing {
    const { orgId, subjects, quotas } = this.#deps;
    const members = new Map<string, string>();
    const put = (subject: Subject) =>
      members.set(subject.subjectId, JSON.stringify(subjectDocument(subject, orgId)));
    for (const subject of subjects.all()) {
      put(subject);
      yield;
    }
    for (const subjectId of ownersOf(quotas.all()).bySubject.keys()) {
      if (!members.has(subjectId)) put({ subjectId, fields: {} });
      yield;
    }
    return { members, source: { ok: true } };
  }

  *#quotas(view: UsageView | undefined): Writing {
    const { orgId, quotas, charges } = this.#deps;
    const members = new Map<string, string>();
    const document = (kept: KeptQuota) => {
      const { quota, revision } = kept;
      const observed = view?.observed(kept);
      const used = charges.usedBy(quota.quotaId);
      return quotaDocument(quota, { orgId, revision, observed, used });
    };
    for (const [id, own] of ownersOf(quotas.all()).bySubject) {
      members.set(id, JSON.stringify(own.map(document)));
      yield;
    }
    return { members, source: { ok: true } };
  }
}

/** The sum of all as "", and each cluster's totals by its id, which is never empty. Of those that are unheard nothing is known. */
function* clustersOf(documents: readonly MetricsDocument[], unheard: readonly string[]): Writing {
  const summer = new MetricsSummer();
  const members = new Map<string, string>();
  const ages: number[] = [];
  const unreachable = [...unheard];
  for (const document of documents) {
    const { view, totals, ageMs } = document;
    summer.add(document);
    const ageSeconds = ageMs === null ? null : Math.round(ageMs / 1_000);
    members.set(
      view.id,
      JSON.stringify({ ...totals, health: view.health, age_seconds: ageSeconds }),
    );
    if (view.health === "unreachable") unreachable.push(view.id);
    if (ageSeconds !== null) ages.push(ageSeconds);
    yield;
  }
  members.set("", JSON.stringify(summer.result()));
  const oldest = ages.length === 0 ? null : ages.reduce((most, age) => Math.max(most, age));
  const source = { ok: unreachable.length === 0, unreachable, oldest_age_seconds: oldest };
  const names = unreachable.slice(0, 10).join(", ");
  const error = `${unreachable.length} clusters are unreachable: ${names}`;
  return { members, source: unreachable.length === 0 ? source : { ...source, error } };
}

function* usageOf(view: UsageView): Writing {
  const members = new Map<string, string>();
  let stale = 0;
  let oldest: number | null = null;
  for (const [id, metrics] of view.subjects) {
    members.set(id, JSON.stringify(metrics));
    if (metrics.stale) stale += 1;
    const age = metrics.age_seconds;
    if (age !== null && (oldest === null || age > oldest)) oldest = age;
    yield;
  }
  return { members, source: { ok: true, stale, oldest_age_seconds: oldest } };
}

function objectText({ members }: Part): string {
  const own = [...members].filter(([name]) => name !== "");
  return `{${own.map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(",")}}`;
}
