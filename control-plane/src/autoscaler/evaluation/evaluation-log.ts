import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import {
  allPages,
  BerthError,
  type Clock,
  type DocumentStore,
  type Logger,
  type Write,
} from "@berth/service-kit";
import type {
  Evaluation,
  EvaluationState,
  EvaluationSummary,
  SubjectDecision,
} from "./evaluation-record.ts";

/** What an {@link EvaluationLog} is kept with. */
export interface EvaluationLogDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly clock: Pick<Clock, "timestamp">;
  readonly logger: Logger;
}

/** An evaluation that is to be remembered, with the report that it looked at. */
export interface LoggedEvaluation extends Evaluation {
  readonly reportJson: string | undefined;
}

/** Which decisions {@link EvaluationLog.decisions} gives. */
export interface DecisionQuery {
  readonly subjectId?: string | undefined;
  readonly kind?: SubjectDecision["kind"] | undefined;
  readonly evaluationId?: string | undefined;
  readonly limit: number;
}

/** A decision, and when it was made. */
export interface TimedDecision extends SubjectDecision {
  readonly evaluation_id: string;
  readonly at: string;
}

interface Kept {
  readonly summary: EvaluationSummary;
  readonly bytes: number;
}

const STATES = ["done", "skipped", "held", "failed"] as const satisfies readonly EvaluationState[];
const SUMMARIES = "evaluations";
const DECISIONS = "evaluation_decisions";
const REPORTS = "evaluation_reports";
const MAX_BYTES = 128 * 1024 * 1024;
const MAX_AGE_MS = 7 * 24 * 60 * 60 * 1_000;
const MAX_KEPT = 20_000;
const MAX_WAITING = 16;
const SEARCHED = 500;

const compressed = promisify(gzip);
const expanded = promisify(gunzip);

/**
 * Evaluations with their decisions and the reports that they looked at: 128 MiB and 7 days of them, the oldest go first. Written behind
 * the evaluation, so that the newest ones may be lost in a crash; nothing is decided by them.
 */
export class EvaluationLog {
  readonly #deps: EvaluationLogDeps;
  /** Oldest first. */
  #kept: Kept[] = [];
  #bytes = 0;
  #latest: Evaluation | undefined;
  readonly #counts = new Map<EvaluationState, number>(STATES.map((state) => [state, 0]));
  #writing: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(deps: EvaluationLogDeps) {
    this.#deps = deps;
  }

  /** Reads what is remembered; called once. */
  async load(): Promise<void> {
    const { store, orgId } = this.#deps;
    const collection = { orgId, collection: SUMMARIES };
    for await (const { body } of allPages<Kept>(store, collection)) this.#keep(body);
  }

  /** The newest one; undefined when nothing was evaluated since the start. */
  get latest(): Evaluation | undefined {
    return this.#latest;
  }

  /** Evaluations since the start by how they ended. */
  get counts(): ReadonlyMap<EvaluationState, number> {
    return this.#counts;
  }

  /** Remembers an evaluation. One too many at a time is told in the log and not kept. */
  add(evaluation: LoggedEvaluation): void {
    const { summary, decisions } = evaluation;
    this.#latest = { summary, decisions };
    this.#counts.set(summary.state, (this.#counts.get(summary.state) ?? 0) + 1);
    if (this.#waiting >= MAX_WAITING) {
      this.#deps.logger.warn("an evaluation is not remembered: the store is slow", { ...summary });
      return;
    }
    this.#waiting += 1;
    this.#writing = this.#writing.then(async () => {
      try {
        await this.#write(evaluation);
      } catch (err) {
        this.#deps.logger.warn("an evaluation is not remembered", { err });
      } finally {
        this.#waiting -= 1;
      }
    });
  }

  /** Resolves when all that was added is written, or given up. */
  settled(): Promise<void> {
    return this.#writing;
  }

  /** Evaluations, the newest first. */
  list(): readonly EvaluationSummary[] {
    return this.#kept.map(({ summary }) => summary).toReversed();
  }

  /** One with its decisions. NOT_FOUND when it is not remembered. */
  async get(evaluationId: string): Promise<Evaluation> {
    if (this.#latest?.summary.evaluation_id === evaluationId) return this.#latest;
    const summary = this.#kept.find((one) => one.summary.evaluation_id === evaluationId)?.summary;
    if (summary !== undefined) return { summary, decisions: await this.#decisionsOf(evaluationId) };
    const name = JSON.stringify(evaluationId.slice(0, 100));
    throw new BerthError("NOT_FOUND", `no evaluation ${name} is remembered`);
  }

  /** The report that an evaluation looked at, JSON text; undefined when there is none. */
  async reportOf(evaluationId: string): Promise<string | undefined> {
    const { store } = this.#deps;
    const kept = await store.get<{ readonly gzip: string }>(this.#key(REPORTS, evaluationId));
    if (kept === undefined) return undefined;
    return (await expanded(Buffer.from(kept.body.gzip, "base64"))).toString();
  }

  /**
   * Decisions, the newest evaluation first, of the last 500. For a subject that is asked for, evaluations without a workflow tell their own
   * reason.
   */
  async decisions(query: DecisionQuery): Promise<readonly TimedDecision[]> {
    const { evaluationId, limit } = query;
    const summaries =
      evaluationId === undefined ? this.#newest() : [(await this.get(evaluationId)).summary];
    const found: TimedDecision[] = [];
    for (const summary of summaries) {
      const { decisions } = await this.get(summary.evaluation_id);
      found.push(...matching(summary, decisions, query));
      if (found.length >= limit) break;
    }
    return found.slice(0, limit);
  }

  #newest(): readonly EvaluationSummary[] {
    const all = this.list().slice(0, SEARCHED);
    const latest = this.#latest?.summary;
    const isKept =
      latest === undefined || all.some((one) => one.evaluation_id === latest.evaluation_id);
    return isKept ? all : [latest, ...all];
  }

  async #decisionsOf(evaluationId: string): Promise<readonly SubjectDecision[]> {
    const { store } = this.#deps;
    const kept = await store.get<readonly SubjectDecision[]>(this.#key(DECISIONS, evaluationId));
    return kept?.body ?? [];
  }

  async #write({ summary, decisions, reportJson }: LoggedEvaluation): Promise<void> {
    const { store } = this.#deps;
    const id = summary.evaluation_id;
    const gzipped = reportJson === undefined ? undefined : await compressed(reportJson);
    const report = gzipped?.toString("base64");
    const bytes =
      JSON.stringify(summary).length + JSON.stringify(decisions).length + (report?.length ?? 0);
    const kept: Kept = { summary, bytes };
    const writes: Write[] = [
      { kind: "insert", key: this.#key(SUMMARIES, id), body: kept },
      { kind: "insert", key: this.#key(DECISIONS, id), body: decisions },
    ];
    if (report !== undefined) {
      writes.push({ kind: "insert", key: this.#key(REPORTS, id), body: { gzip: report } });
    }
    await store.apply(writes);
    this.#keep(kept);
    await this.#prune();
  }

  #keep(kept: Kept): void {
    this.#kept.push(kept);
    this.#bytes += kept.bytes;
  }

  async #prune(): Promise<void> {
    const oldestMs = Date.parse(this.#deps.clock.timestamp()) - MAX_AGE_MS;
    for (;;) {
      const [first] = this.#kept;
      if (first === undefined) return;
      const isOld = Date.parse(first.summary.started_at) < oldestMs;
      if (!isOld && this.#bytes <= MAX_BYTES && this.#kept.length <= MAX_KEPT) return;
      const id = first.summary.evaluation_id;
      for (const collection of [REPORTS, DECISIONS, SUMMARIES]) {
        await this.#deps.store.apply([{ kind: "delete", key: this.#key(collection, id) }]);
      }
      this.#kept.shift();
      this.#bytes -= first.bytes;
    }
  }

  #key(collection: string, id: string) {
    return { orgId: this.#deps.orgId, collection, id };
  }
}

function matching(
  { evaluation_id, started_at: at, state, reason }: EvaluationSummary,
  decisions: readonly SubjectDecision[],
  { subjectId, kind }: DecisionQuery,
): readonly TimedDecision[] {
  const about = { evaluation_id, at };
  const isOfNobody = state !== "done" && decisions.length === 0;
  if (isOfNobody && subjectId !== undefined && (kind ?? "keep") === "keep") {
    const none = { quota_id: null, current: null, wanted: null, replicas: null };
    return [{ ...about, subject_id: subjectId, ...none, kind: "keep", why: `${state}: ${reason}` }];
  }
  return decisions
    .filter((one) => subjectId === undefined || one.subject_id === subjectId)
    .filter((one) => kind === undefined || one.kind === kind)
    .map((one) => ({ ...about, ...one }));
}
