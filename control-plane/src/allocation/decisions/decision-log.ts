import {
  type DocumentStore,
  type Logger,
  type Part,
  Serial,
  toBerthError,
} from "@berth/service-kit";
import { DecisionDocuments } from "./decision-documents.ts";
import type { DecisionQuery, DecisionRecord } from "./decision-record.ts";
import { type DecisionPage, listDecisions } from "./list-decisions.ts";
import { ListTurns } from "./list-turns.ts";
import { WaitingDecisions } from "./waiting-decisions.ts";

const COMMIT_INTERVAL_MS = 50;
const PRUNE_INTERVAL_MS = 1_000;
const RETRY_INTERVAL_MS = 5_000;
const MAX_PRUNED_AT_ONCE = 100;
/** Records that are pruned first, to see how many bytes go with each. */
const FIRST_PRUNED = 10;
/** Groups that one turn of the pruning deletes: more than is written meanwhile. */
const MAX_PRUNED_GROUPS = 50;

/** How much of the past is kept. */
export interface DecisionLimits {
  readonly maxAgeMs: number;
  readonly maxBytes: number;
}

/** What {@link DecisionLog} needs. */
export interface DecisionLogDeps {
  /** A store of its own: it is written to often and with less durability. */
  readonly store: DocumentStore;
  /** Org whose decisions are pruned from the start; others are once they have decided. */
  readonly orgId: string;
  readonly limits: DecisionLimits;
  readonly logger: Logger;
}

/**
 * The decisions of the last days. They are written in groups, up to 50 ms late and off the decisions'
 * path, and pruned by age and size. A decision can be read as soon as it was recorded.
 */
export class DecisionLog implements Part {
  readonly name = "decision log";
  readonly #deps: DecisionLogDeps;
  readonly #waiting = new WaitingDecisions();
  readonly #documents: DecisionDocuments;
  readonly #lists = new ListTurns();
  /** Writing and pruning never overlap. */
  readonly #serial = new Serial();
  readonly #orgs: Set<string>;
  #commitTimer: NodeJS.Timeout | undefined;
  #pruneTimer: NodeJS.Timeout | undefined;
  #pruning = false;
  #failure: string | undefined;
  /** When an org's oldest decision was made, where that is known: until it is too old nobody needs to look. */
  readonly #oldestMs = new Map<string, number>();
  /** Bytes from which pruning did not lead down when it was tried; more than those are pruned again. */
  #stuckAtBytes = 0;

  constructor(deps: DecisionLogDeps) {
    this.#deps = deps;
    this.#documents = new DecisionDocuments(deps.store);
    this.#orgs = new Set([deps.orgId]);
  }

  async start(): Promise<void> {
    this.#pruneTimer = setInterval(() => void this.prune(), PRUNE_INTERVAL_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#pruneTimer);
    await this.flush();
    clearTimeout(this.#commitTimer);
  }

  /** Why decisions cannot be written; undefined when they can, as far as it is known. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Takes a record; it is written soon. */
  record(orgId: string, record: DecisionRecord): void {
    if (!this.#waiting.add(orgId, record)) return;
    this.#orgs.add(orgId);
    this.#commitTimer ??= setTimeout(() => void this.flush(), COMMIT_INTERVAL_MS);
  }

  /** Writes what is waiting. A failure is logged and tried again with the next record. */
  flush(): Promise<void> {
    clearTimeout(this.#commitTimer);
    this.#commitTimer = undefined;
    return this.#serial.run(() => this.#commit());
  }

  /** One decision; undefined when there is none, or no longer. */
  async get(orgId: string, id: string): Promise<DecisionRecord | undefined> {
    const waiting = this.#waiting.get(id);
    if (waiting !== undefined) return waiting.orgId === orgId ? waiting.record : undefined;
    return this.#documents.get(orgId, id);
  }

  /**
   * Decisions that are asked for, newest first, also those that cannot be written; see {@link listDecisions}. A few
   * lists are made at a time: OVERLOADED when too many wait, or after too long a wait.
   */
  list(orgId: string, query: DecisionQuery, signal: AbortSignal): Promise<DecisionPage> {
    return this.#lists.run(async () => {
      await this.flush();
      const waiting = this.#waiting.newestFirst(orgId, query.before);
      return listDecisions(query, { orgId, waiting, documents: this.#documents }, signal);
    }, signal);
  }

  /** Deletes what is too old or too much, a little at a time. Called by a timer. */
  async prune(nowMs = Date.now()): Promise<void> {
    if (this.#pruning) return;
    this.#pruning = true;
    try {
      for (const orgId of this.#orgs) await this.#pruneOrg(orgId, nowMs);
    } catch (err) {
      this.#deps.logger.error("decisions could not be pruned", { err });
    } finally {
      this.#pruning = false;
    }
  }

  async #commit(): Promise<void> {
    while (this.#waiting.size > 0) {
      const group = this.#waiting.group();
      try {
        await this.#documents.insert(group);
      } catch (err) {
        this.#failure = toBerthError(err).message;
        this.#deps.logger.error("decisions could not be written", { err });
        this.#commitTimer ??= setTimeout(() => void this.flush(), RETRY_INTERVAL_MS);
        return;
      }
      this.#failure = undefined;
      this.#waiting.written(group);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const count = this.#waiting.takeDropped();
    if (count === 0) return;
    this.#deps.logger.warn("decisions were not recorded: too many wait", { count });
  }

  async #pruneOrg(orgId: string, nowMs: number): Promise<void> {
    let count = FIRST_PRUNED;
    for (let groups = 0; groups < MAX_PRUNED_GROUPS; groups += 1) {
      const pruned = await this.#serial.run(() => this.#pruneGroup(orgId, nowMs, count));
      if (pruned === "nothing") break;
      if (pruned.freedBytes <= 0 && count === MAX_PRUNED_AT_ONCE && pruned.excessBytes > 0) {
        this.#giveUp(pruned.sizeBytes);
        return;
      }
      count = nextCount(pruned);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Removes some of the oldest records when there are too many bytes, or those that are too old. */
  async #pruneGroup(orgId: string, nowMs: number, count: number): Promise<Pruned | "nothing"> {
    const { maxBytes } = this.#deps.limits;
    const sizeBytes = await this.#documents.sizeBytes();
    if (sizeBytes <= maxBytes) this.#stuckAtBytes = 0;
    const excessBytes = sizeBytes - Math.max(maxBytes, this.#stuckAtBytes);
    const goes = excessBytes > 0 ? { count } : await this.#tooOld(orgId, nowMs, count);
    const removed = goes.count === 0 ? 0 : await this.#documents.removeOldest(orgId, goes.count);
    if (goes.oldestMs !== undefined) this.#oldestMs.set(orgId, goes.oldestMs);
    if (removed === 0) return "nothing";
    const freedBytes = sizeBytes - (await this.#documents.sizeBytes());
    return { removed, sizeBytes, excessBytes, freedBytes };
  }

  /** How many of the oldest records are too old, up to `atMost`, and when the first that is not was made. */
  async #tooOld(
    orgId: string,
    nowMs: number,
    atMost: number,
  ): Promise<{ readonly count: number; readonly oldestMs?: number }> {
    const { maxAgeMs } = this.#deps.limits;
    const knownMs = this.#oldestMs.get(orgId);
    if (knownMs !== undefined && nowMs - knownMs <= maxAgeMs) return { count: 0 };
    const times = (await this.#documents.oldestTimes(orgId, atMost)).map((time) =>
      Date.parse(time),
    );
    const young = times.findIndex((ms) => nowMs - ms <= maxAgeMs);
    const oldestMs = times[young];
    if (oldestMs === undefined) return { count: times.length };
    return { count: young, oldestMs };
  }

  /** Deleting all that is left would be in vain, too. */
  #giveUp(sizeBytes: number): void {
    this.#stuckAtBytes = sizeBytes;
    const fields = { sizeBytes, maxBytes: this.#deps.limits.maxBytes };
    this.#deps.logger.warn("decisions take too much, and pruning does not make them less", fields);
  }
}

/** What pruning one group of records came to. */
interface Pruned {
  readonly removed: number;
  /** Bytes before, and those of them above the limit. */
  readonly sizeBytes: number;
  readonly excessBytes: number;
  readonly freedBytes: number;
}

/** As many records as should free the rest of what is too much: the newest of the past are to stay. */
function nextCount({ removed, excessBytes, freedBytes }: Pruned): number {
  if (excessBytes <= 0) return MAX_PRUNED_AT_ONCE;
  if (freedBytes <= 0) return MAX_PRUNED_AT_ONCE;
  const wanted = Math.ceil(((excessBytes - freedBytes) * removed) / freedBytes);
  return Math.min(Math.max(wanted, 1), MAX_PRUNED_AT_ONCE);
}
