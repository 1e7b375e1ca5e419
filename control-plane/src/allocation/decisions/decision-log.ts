import { type DocumentStore, type Logger, type Part, Serial } from "@berth/service-kit";
import { DecisionDocuments, type OrgDecision } from "./decision-documents.ts";
import { type DecisionQuery, type DecisionRecord, isAskedFor } from "./decision-record.ts";

const COMMIT_INTERVAL_MS = 50;
const PRUNE_INTERVAL_MS = 1_000;
const RETRY_INTERVAL_MS = 5_000;
/** Records that wait for their commit; what comes on top is dropped and counted. */
const MAX_WAITING = 10_000;
/** Records in one transaction, which takes a few milliseconds. */
const MAX_PER_COMMIT = 100;
const MAX_PRUNED_AT_ONCE = 100;
/** Records that are pruned first, to see how many bytes go with each. */
const FIRST_PRUNED = 10;
/** Groups that one turn of the pruning deletes: more than is written meanwhile. */
const MAX_PRUNED_GROUPS = 50;
/** Records that one query looks at, and how many between two turns of the event loop. */
const MAX_LOOKED_AT = 5_000;
const LOOKED_AT_AT_ONCE = 200;

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

/** Decisions of one page, newest first. */
export interface DecisionPage {
  readonly decisions: readonly DecisionRecord[];
  /** Continues the list as `before`; absent at its end. */
  readonly next?: string;
}

/**
 * The decisions of the last days. They are written in groups, up to 50 ms late and off the decisions'
 * path, and pruned by age and size. A decision can be read as soon as it was recorded.
 */
export class DecisionLog implements Part {
  readonly name = "decision log";
  readonly #deps: DecisionLogDeps;
  readonly #waiting = new Map<string, OrgDecision>();
  readonly #documents: DecisionDocuments;
  /** Writing and pruning never overlap. */
  readonly #serial = new Serial();
  readonly #orgs: Set<string>;
  #commitTimer: NodeJS.Timeout | undefined;
  #pruneTimer: NodeJS.Timeout | undefined;
  #pruning = false;
  #dropped = 0;
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

  /** Takes a record; it is written soon. */
  record(orgId: string, record: DecisionRecord): void {
    if (this.#waiting.size >= MAX_WAITING) {
      this.#dropped += 1;
      return;
    }
    this.#orgs.add(orgId);
    this.#waiting.set(record.decision_id, { orgId, record });
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

  /** Decisions that are asked for, newest first. Looks at 5,000 at most; `next` goes on from there. */
  async list(orgId: string, query: DecisionQuery): Promise<DecisionPage> {
    await this.flush();
    const decisions: DecisionRecord[] = [];
    let before = query.before;
    for (let lookedAt = 0; lookedAt < MAX_LOOKED_AT; lookedAt += LOOKED_AT_AT_ONCE) {
      const position = before === undefined ? {} : { after: before };
      const page = await this.#documents.list(orgId, {
        ...{ descending: true, limit: LOOKED_AT_AT_ONCE },
        ...position,
      });
      for (const record of page) {
        before = record.decision_id;
        if (isAskedFor(record, query)) decisions.push(record);
        if (decisions.length === query.limit) return { decisions, next: before };
      }
      if (page.length < LOOKED_AT_AT_ONCE) return { decisions };
      await new Promise((resolve) => setImmediate(resolve));
    }
    return before === undefined ? { decisions } : { decisions, next: before };
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
      const group = [...this.#waiting.entries()].slice(0, MAX_PER_COMMIT);
      try {
        await this.#documents.insert(group.map(([, waiting]) => waiting));
      } catch (err) {
        this.#deps.logger.error("decisions could not be written", { err });
        this.#commitTimer ??= setTimeout(() => void this.flush(), RETRY_INTERVAL_MS);
        return;
      }
      for (const [id] of group) this.#waiting.delete(id);
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (this.#dropped === 0) return;
    this.#deps.logger.warn("decisions were not recorded: too many wait", { count: this.#dropped });
    this.#dropped = 0;
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
    const goes = excessBytes > 0 ? count : await this.#tooOld(orgId, nowMs);
    const removed = goes === 0 ? 0 : await this.#documents.removeOldest(orgId, goes);
    if (removed === 0) return "nothing";
    const freedBytes = sizeBytes - (await this.#documents.sizeBytes());
    return { removed, sizeBytes, excessBytes, freedBytes };
  }

  /** How many of the oldest records are too old. */
  async #tooOld(orgId: string, nowMs: number): Promise<number> {
    const { maxAgeMs } = this.#deps.limits;
    const times = await this.#documents.oldestTimes(orgId, MAX_PRUNED_AT_ONCE);
    const young = times.findIndex((time) => nowMs - Date.parse(time) <= maxAgeMs);
    return young === -1 ? times.length : young;
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
  if (excessBytes <= 0) return FIRST_PRUNED;
  if (freedBytes <= 0) return MAX_PRUNED_AT_ONCE;
  const wanted = Math.ceil(((excessBytes - freedBytes) * removed) / freedBytes);
  return Math.min(Math.max(wanted, 1), MAX_PRUNED_AT_ONCE);
}
