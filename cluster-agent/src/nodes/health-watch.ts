import { type HealthFact, isGrave } from "./health-facts.ts";
import type { NodeView } from "./node-view.ts";
import type { ToldHealth } from "./told-health.ts";

/** Something about the health of a node that is to be told. */
export type HealthNews =
  | {
      readonly kind: "gpu_unhealthy" | "gpu_recovered";
      readonly slot: number;
      readonly uuid: string;
      /** Why it is, or was, unhealthy. */
      readonly reason: string;
      /** What is known about it, the gravest first. */
      readonly facts: readonly HealthFact[];
    }
  | {
      readonly kind: "health_fact";
      /** Absent for a fact about the node, or a GPU without a slot. */
      readonly slot?: number;
      readonly fact: HealthFact;
      /** Facts that were not told since the last one, because there were too many. */
      readonly omitted: number;
    };

/** What is looked at. */
export type WatchedView = Pick<
  NodeView,
  "liveness" | "slots" | "verdicts" | "nodeFacts" | "kernelLog"
>;

/** A GPU has to be well for so long before it is told to have recovered: one that flaps is told of once. */
const RECOVERY_MS = 10_000;
/** Facts of one node that are told in one window; more are counted. */
const FACTS_PER_WINDOW = 32;
const WINDOW_MS = 10 * 60_000;

const NOTHING: ToldHealth = { gpus: [], facts: [] };

/**
 * Finds what is new about the health of one node's GPUs, each thing once: which become unhealthy and recover
 * while the node is live, and which grave facts are new. Pure state; times come from the caller, in ms of one
 * monotonic clock.
 */
export class HealthWatch {
  #told: ToldHealth;
  /** Since when GPUs that were told to be unhealthy are well, by UUID. */
  readonly #wellSince = new Map<string, number>();
  #window = { fromMs: Number.NEGATIVE_INFINITY, facts: 0 };
  #omitted = 0;

  /** Begins with what was told before. */
  constructor(told: ToldHealth = NOTHING) {
    this.#told = told;
  }

  /** What was told; undefined when there is nothing. Another object after each change. */
  get told(): ToldHealth | undefined {
    const { gpus, facts } = this.#told;
    return gpus.length === 0 && facts.length === 0 ? undefined : this.#told;
  }

  /** Whether a GPU may have recovered without a new report. */
  get waits(): boolean {
    return this.#wellSince.size > 0;
  }

  /** Looks at the node as it is now. The telemetry of a node that is not live says nothing of its GPUs. */
  look(view: WatchedView, nowMs: number): HealthNews[] {
    if (view.liveness !== "live") {
      this.#wellSince.clear();
      return [];
    }
    return [...this.#gpuNews(view, nowMs), ...this.#factNews(view, nowMs)];
  }

  #gpuNews({ slots, verdicts }: WatchedView, nowMs: number): HealthNews[] {
    const told = new Map(this.#told.gpus.map(({ uuid, reason }) => [uuid, reason]));
    const news: HealthNews[] = [];
    for (const slot of slots.keys()) {
      const verdict = verdicts[slot];
      if (verdict === undefined) continue;
      const { uuid, reason, facts } = verdict;
      const before = told.get(uuid);
      if (reason !== undefined) {
        this.#wellSince.delete(uuid);
        if (before !== undefined) continue;
        told.set(uuid, reason);
        news.push({ kind: "gpu_unhealthy", slot, uuid, reason, facts });
      } else if (before !== undefined && this.#isWell(uuid, nowMs)) {
        this.#wellSince.delete(uuid);
        told.delete(uuid);
        news.push({ kind: "gpu_recovered", slot, uuid, reason: before, facts });
      }
    }
    if (news.length > 0) {
      const gpus = [...told].map(([uuid, reason]) => ({ uuid, reason }));
      this.#told = { ...this.#told, gpus };
    }
    return news;
  }

  #isWell(uuid: string, nowMs: number): boolean {
    return nowMs - this.#wellSince.getOrInsert(uuid, nowMs) >= RECOVERY_MS;
  }

  #factNews(view: WatchedView, nowMs: number): HealthNews[] {
    // Before the first report of its boot a node has told nothing, which does not mean that there is nothing.
    if (view.kernelLog === undefined) return [];
    const known = graveFacts(view);
    const told = new Set(this.#told.facts);
    const fresh = known.filter(({ fact }) => !told.has(fact.factId));
    if (fresh.length === 0 && known.length === told.size) return [];
    this.#told = { ...this.#told, facts: known.map(({ fact }) => fact.factId) };
    return fresh.flatMap(({ fact, slot }): HealthNews[] => {
      if (!this.#takeFromWindow(nowMs)) {
        this.#omitted += 1;
        return [];
      }
      const omitted = this.#omitted;
      this.#omitted = 0;
      const where = slot === undefined ? {} : { slot };
      return [{ kind: "health_fact", ...where, fact, omitted }];
    });
  }

  #takeFromWindow(nowMs: number): boolean {
    if (nowMs - this.#window.fromMs >= WINDOW_MS) this.#window = { fromMs: nowMs, facts: 0 };
    this.#window.facts += 1;
    return this.#window.facts <= FACTS_PER_WINDOW;
  }
}

function graveFacts({ verdicts, nodeFacts }: WatchedView) {
  const ofGpus = verdicts.flatMap(({ facts }, slot) => facts.map((fact) => ({ fact, slot })));
  const ofNode = nodeFacts.map((fact) => ({ fact, slot: undefined }));
  return [...ofGpus, ...ofNode].filter(({ fact }) => isGrave(fact));
}
