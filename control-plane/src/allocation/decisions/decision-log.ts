import { createHash } from "node:crypto";
import type { DocumentKey, DocumentStore, Logger, Part, Write } from "@berth/service-kit";
import { type DecisionQuery, type DecisionRecord, isAskedFor } from "./decision-record.ts";

const RECORDS = "decisions";
/**
 * Lists of candidates and dropped clusters: most decisions share theirs. An id begins with the time of its
 * first use, to the ten minutes, so that lists go when the decisions of their time have gone.
 */
const POOLS = "decision_pools";

const COMMIT_INTERVAL_MS = 50;
const PRUNE_INTERVAL_MS = 1_000;
const RETRY_INTERVAL_MS = 5_000;
/** Records that wait for their commit; what comes on top is dropped and counted. */
const MAX_WAITING = 10_000;
/** Records in one transaction, which takes a few milliseconds. */
const MAX_PER_COMMIT = 100;
const MAX_PRUNED_AT_ONCE = 100;
/** Groups that one turn of the pruning deletes: more than is written meanwhile. */
const MAX_PRUNED_GROUPS = 50;
/** Records that one query looks at, and how many between two turns of the event loop. */
const MAX_LOOKED_AT = 5_000;
const LOOKED_AT_AT_ONCE = 200;
const MAX_KNOWN_POOLS = 1_000;

type Pool = Pick<DecisionRecord, "candidates" | "dropped" | "dropped_more">;
type StoredRecord = Omit<DecisionRecord, keyof Pool> & { readonly pool: string };

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

interface Waiting {
  readonly orgId: string;
  readonly record: DecisionRecord;
}

/**
 * The decisions of the last days. They are written in groups, up to 50 ms late and off the decisions'
 * path, and pruned by age and size. A decision can be read as soon as it was recorded.
 */
export class DecisionLog implements Part {
  readonly name = "decision log";
  readonly #deps: DecisionLogDeps;
  readonly #waiting = new Map<string, Waiting>();
  readonly #knownPools = new Set<string>();
  readonly #orgs: Set<string>;
  #commitTimer: NodeJS.Timeout | undefined;
  #pruneTimer: NodeJS.Timeout | undefined;
  #committing: Promise<void> = Promise.resolve();
  #pruning = false;
  #dropped = 0;

  constructor(deps: DecisionLogDeps) {
    this.#deps = deps;
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
    this.#committing = this.#committing.then(() => this.#commit());
    return this.#committing;
  }

  /** One decision; undefined when there is none, or no longer. */
  async get(orgId: string, id: string): Promise<DecisionRecord | undefined> {
    const waiting = this.#waiting.get(id);
    if (waiting !== undefined) return waiting.orgId === orgId ? waiting.record : undefined;
    const stored = await this.#deps.store.get<StoredRecord>({ orgId, collection: RECORDS, id });
    return stored === undefined ? undefined : this.#whole(orgId, stored.body);
  }

  /** Decisions that are asked for, newest first. Looks at 5,000 at most; `next` goes on from there. */
  async list(orgId: string, query: DecisionQuery): Promise<DecisionPage> {
    await this.flush();
    const decisions: DecisionRecord[] = [];
    let before = query.before;
    for (let lookedAt = 0; lookedAt < MAX_LOOKED_AT; lookedAt += LOOKED_AT_AT_ONCE) {
      const page = await this.#deps.store.list<StoredRecord>(
        { orgId, collection: RECORDS },
        {
          descending: true,
          limit: LOOKED_AT_AT_ONCE,
          ...(before === undefined ? {} : { after: before }),
        },
      );
      for (const { id, body } of page) {
        before = id;
        const record = await this.#whole(orgId, body);
        if (isAskedFor(record, query)) decisions.push(record);
        if (decisions.length === query.limit) return { decisions, next: id };
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
        await this.#write(group.map(([, waiting]) => waiting));
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

  async #write(group: readonly Waiting[]): Promise<void> {
    const writes: Write[] = [];
    const pools = new Set<string>();
    for (const { orgId, record } of group) {
      const { candidates, dropped, dropped_more, ...rest } = record;
      const body: Pool = { candidates, dropped, dropped_more };
      const pool = poolId(body, record.decided_at);
      const poolKey = { orgId, collection: POOLS, id: pool };
      const name = `${orgId}\n${pool}`;
      if (!pools.has(name) && !(await this.#isPoolKnown(poolKey))) {
        writes.push({ kind: "insert", key: poolKey, body });
      }
      pools.add(name);
      const key = { orgId, collection: RECORDS, id: record.decision_id };
      writes.push({ kind: "insert", key, body: { ...rest, pool } satisfies StoredRecord });
    }
    const outcome = await this.#deps.store.apply(writes);
    if (outcome.kind === "refused") throw new Error(`${outcome.key.id} ${outcome.why}`);
    if (this.#knownPools.size > MAX_KNOWN_POOLS) this.#knownPools.clear();
    for (const known of pools) this.#knownPools.add(known);
  }

  async #isPoolKnown(key: DocumentKey): Promise<boolean> {
    if (this.#knownPools.has(`${key.orgId}\n${key.id}`)) return true;
    return (await this.#deps.store.get(key)) !== undefined;
  }

  async #whole(orgId: string, stored: StoredRecord): Promise<DecisionRecord> {
    const { pool, ...rest } = stored;
    const found = await this.#deps.store.get<Pool>({ orgId, collection: POOLS, id: pool });
    return { ...rest, ...(found?.body ?? { candidates: [], dropped: [], dropped_more: 0 }) };
  }

  async #pruneOrg(orgId: string, nowMs: number): Promise<void> {
    for (let groups = 0; groups < MAX_PRUNED_GROUPS; groups += 1) {
      const gone = await this.#nextGone(orgId, nowMs);
      if (gone.length === 0) return;
      await this.#delete(orgId, RECORDS, gone);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Ids of the oldest records, as far as they are too old or there are too many bytes. */
  async #nextGone(orgId: string, nowMs: number): Promise<readonly string[]> {
    const { store, limits } = this.#deps;
    const oldest = await store.list<StoredRecord>(
      { orgId, collection: RECORDS },
      { limit: MAX_PRUNED_AT_ONCE },
    );
    await this.#prunePools(orgId, oldest[0]?.body.decided_at ?? new Date(nowMs).toISOString());
    if ((await store.sizeBytes()) > limits.maxBytes) return oldest.map(({ id }) => id);
    return oldest
      .filter(({ body }) => nowMs - Date.parse(body.decided_at) > limits.maxAgeMs)
      .map(({ id }) => id);
  }

  /** Deletes pools of a time before that of the oldest record. */
  async #prunePools(orgId: string, oldestAt: string): Promise<void> {
    const pools = await this.#deps.store.list(
      { orgId, collection: POOLS },
      { limit: MAX_PRUNED_AT_ONCE },
    );
    const gone = pools.map(({ id }) => id).filter((id) => id < timeOf(oldestAt));
    if (gone.length === 0) return;
    for (const id of gone) this.#knownPools.delete(`${orgId}\n${id}`);
    await this.#delete(orgId, POOLS, gone);
  }

  async #delete(orgId: string, collection: string, ids: readonly string[]): Promise<void> {
    const writes = ids.map((id) => ({ kind: "delete", key: { orgId, collection, id } }) as const);
    const outcome = await this.#deps.store.apply(writes);
    if (outcome.kind === "refused") throw new Error(`${outcome.key.id} ${outcome.why}`);
  }
}

/** "2026-11-22T01:1": the ten minutes of an ISO 8601 time. */
function timeOf(timestamp: string): string {
  return timestamp.slice(0, 15);
}

function poolId(pool: Pool, decidedAt: string): string {
  const digest = createHash("sha256").update(JSON.stringify(pool)).digest("hex").slice(0, 32);
  return `${timeOf(decidedAt)}-${digest}`;
}
