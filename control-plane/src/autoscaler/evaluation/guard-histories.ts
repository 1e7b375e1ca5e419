import type { KeptDocuments } from "../../org/store/kept-documents.ts";
import type { Plan } from "../../org/store/org-transactions.ts";
import type { AcceptedChange } from "../guards/change-spans.ts";
import type { GuardRules } from "../guards/guard-rules.ts";
import { readHistory, showHistory } from "../guards/history-json.ts";
import {
  NO_HISTORY,
  type SubjectHistory,
  withChange,
  withRecommendation,
} from "../guards/subject-history.ts";

/** The changes of a quota that were made, as the store has them. */
export type StoredHistory = ReturnType<typeof showHistory>;

/**
 * What the guards remember of each quota. Changes are durable with the requests that make them, so that rates, cooldowns and flap
 * budgets hold over restarts. What was wanted is in memory: after a restart what is desired then counts as wanted at that moment, as
 * the Kubernetes HorizontalPodAutoscaler does it, so that nothing is scaled down before its window is over.
 */
export class GuardHistories {
  readonly #documents: KeptDocuments<StoredHistory>;
  readonly #known = new Map<string, SubjectHistory>();

  constructor(documents: KeptDocuments<StoredHistory>) {
    this.#documents = documents;
  }

  /** Takes what the store has. */
  async reload(): Promise<void> {
    await this.#documents.reload();
    this.#known.clear();
  }

  /** The history of a quota of which `current` replicas are desired. `nowMs` is Unix time. */
  of(
    quotaId: string,
    at: { readonly current: number; readonly rules: GuardRules; readonly nowMs: number },
  ): SubjectHistory {
    const known = this.#known.get(quotaId);
    if (known !== undefined) return known;
    const wanted = { atMs: at.nowMs, replicas: at.current };
    const history = withRecommendation(this.#stored(quotaId), wanted, at.rules);
    this.#known.set(quotaId, history);
    return history;
  }

  /** Remembers what a verdict gave, unless the history that it was given on is not the newest one any more. */
  keep(quotaId: string, history: SubjectHistory, from: SubjectHistory): void {
    if (this.isNewest(quotaId, from)) this.#known.set(quotaId, history);
  }

  /** Whether nothing was asked for of a quota since this history. */
  isNewest(quotaId: string, history: SubjectHistory): boolean {
    return this.#known.get(quotaId) === history;
  }

  /**
   * A request of the autoscaler is over: what it has changed is remembered with it. Until then the quota is busy, and nothing is judged; what
   * came to nothing has changed nothing.
   */
  note(plan: Plan, quotaId: string, change: AcceptedChange, rules: GuardRules): void {
    const former = this.#known.get(quotaId);
    const history = withChange(former ?? this.#stored(quotaId), change, rules);
    this.#documents.put(plan, quotaId, showHistory({ ...history, recommendations: [] }));
    // Without a former one the next look reads the store.
    if (former === undefined) return;
    this.#known.set(quotaId, history);
    plan.add({ undo: () => this.#known.set(quotaId, former) });
  }

  /** Forgets quotas that are gone; what the store has of them goes with the transaction. */
  forget(plan: Plan, isThere: (quotaId: string) => boolean): void {
    for (const quotaId of this.#known.keys()) if (!isThere(quotaId)) this.#known.delete(quotaId);
    for (const [quotaId] of [...this.#documents.allPlanned()]) {
      if (!isThere(quotaId)) this.#documents.remove(plan, quotaId);
    }
  }

  #stored(quotaId: string): SubjectHistory {
    const stored = this.#documents.planned(quotaId)?.body;
    return stored === undefined ? NO_HISTORY : readHistory(stored);
  }
}
