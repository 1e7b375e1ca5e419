import { createHash } from "node:crypto";
import type { DocumentStore, ListPage, Write } from "@berth/service-kit";
import type { DecisionRecord } from "./decision-record.ts";

const RECORDS = "decisions";
/** Lists of candidates and dropped clusters, by digest: most decisions share theirs. */
const POOLS = "decision_pools";
/** Which decisions name a list: "<list>/<decision>". A list goes with the last decision that names it. */
const POOL_USERS = "decision_pool_users";
const MAX_KNOWN_POOLS = 1_000;

type Pool = Pick<DecisionRecord, "candidates" | "dropped" | "dropped_more">;

/** A decision with the name of its lists in their place. */
export type StoredRecord = Omit<DecisionRecord, keyof Pool> & { readonly pool: string };

/** A decision of an org. */
export interface OrgDecision {
  readonly orgId: string;
  readonly record: DecisionRecord;
}

/**
 * Decisions as documents of a store. Lists of candidates are stored once for all decisions that share them.
 * `insert` and `removeOldest` must not overlap.
 */
export class DecisionDocuments {
  readonly #store: DocumentStore;
  /** Lists that are surely in the store. */
  readonly #knownPools = new Set<string>();

  constructor(store: DocumentStore) {
    this.#store = store;
  }

  /** Bytes that all of it takes on disk, roughly. */
  sizeBytes(): Promise<number> {
    return this.#store.sizeBytes();
  }

  /** Inserts new decisions, all or none. */
  async insert(group: readonly OrgDecision[]): Promise<void> {
    const writes: Write[] = [];
    const named = new Set<string>();
    for (const { orgId, record } of group) {
      const { candidates, dropped, dropped_more, ...rest } = record;
      const body: Pool = { candidates, dropped, dropped_more };
      const pool = digestOf(body);
      const name = nameOf(orgId, pool);
      if (!named.has(name) && !(await this.#isKnown(orgId, pool))) {
        writes.push({ kind: "insert", key: { orgId, collection: POOLS, id: pool }, body });
      }
      named.add(name);
      const { decision_id: id } = record;
      const stored: StoredRecord = { ...rest, pool };
      const user = { orgId, collection: POOL_USERS, id: userId(pool, id) };
      writes.push({ kind: "insert", key: { orgId, collection: RECORDS, id }, body: stored });
      writes.push({ kind: "insert", key: user, body: null });
    }
    await this.#apply(writes);
    if (this.#knownPools.size > MAX_KNOWN_POOLS) this.#knownPools.clear();
    for (const name of named) this.#knownPools.add(name);
  }

  /** One decision; undefined when there is none. */
  async get(orgId: string, id: string): Promise<DecisionRecord | undefined> {
    const stored = await this.#store.get<StoredRecord>({ orgId, collection: RECORDS, id });
    return stored === undefined ? undefined : this.completing(orgId)(stored.body);
  }

  /** A page of decisions in the order of their ids, as they are stored. */
  async page(orgId: string, page: ListPage): Promise<readonly StoredRecord[]> {
    const stored = await this.#store.list<StoredRecord>({ orgId, collection: RECORDS }, page);
    return stored.map(({ body }) => body);
  }

  /** Gives stored decisions their lists back; a list that several of them share is read once. */
  completing(orgId: string): (stored: StoredRecord) => Promise<DecisionRecord> {
    const pools = new Map<string, Pool>();
    return async ({ pool: name, ...rest }) => {
      const pool = pools.get(name) ?? (await this.#pool(orgId, name));
      pools.set(name, pool);
      return { ...rest, ...pool };
    };
  }

  /** When the oldest decisions were made: ISO 8601, the oldest first, at most `limit`. */
  async oldestTimes(orgId: string, limit: number): Promise<readonly string[]> {
    const stored = await this.#store.list<StoredRecord>({ orgId, collection: RECORDS }, { limit });
    return stored.map(({ body }) => body.decided_at);
  }

  /** Removes the oldest decisions, with the lists that no other names, and gives how many there were. */
  async removeOldest(orgId: string, count: number): Promise<number> {
    const records = await this.#store.list<StoredRecord>(
      { orgId, collection: RECORDS },
      { limit: count },
    );
    const byPool = Map.groupBy(records, ({ body }) => body.pool);
    const writes = records.map(({ id }) => deletion(orgId, RECORDS, id));
    for (const [pool, leaving] of byPool) {
      const ids = new Set(leaving.map(({ id }) => userId(pool, id)));
      writes.push(...(await this.#leave(orgId, pool, ids)));
    }
    await this.#apply(writes);
    for (const pool of byPool.keys()) this.#knownPools.delete(nameOf(orgId, pool));
    return records.length;
  }

  /** Deletes the users of a list, and the list itself when nobody else names it. */
  async #leave(orgId: string, pool: string, users: ReadonlySet<string>): Promise<readonly Write[]> {
    // The oldest decisions leave, so they are the first users, and one more is another.
    const first = await this.#store.list(
      { orgId, collection: POOL_USERS },
      { after: userId(pool, ""), limit: users.size + 1 },
    );
    const known = first.filter(({ id }) => id.startsWith(userId(pool, "")));
    const leaving = known.filter(({ id }) => users.has(id));
    const writes = leaving.map(({ id }) => deletion(orgId, POOL_USERS, id));
    if (leaving.length < known.length) return writes;
    const stored = await this.#store.get({ orgId, collection: POOLS, id: pool });
    return stored === undefined ? writes : [...writes, deletion(orgId, POOLS, pool)];
  }

  async #isKnown(orgId: string, pool: string): Promise<boolean> {
    if (this.#knownPools.has(nameOf(orgId, pool))) return true;
    return (await this.#store.get({ orgId, collection: POOLS, id: pool })) !== undefined;
  }

  async #pool(orgId: string, pool: string): Promise<Pool> {
    const found = await this.#store.get<Pool>({ orgId, collection: POOLS, id: pool });
    return found?.body ?? { candidates: [], dropped: [], dropped_more: 0 };
  }

  async #apply(writes: readonly Write[]): Promise<void> {
    const outcome = await this.#store.apply(writes);
    if (outcome.kind === "refused") throw new Error(`${outcome.key.id} ${outcome.why}`);
  }
}

function deletion(orgId: string, collection: string, id: string): Write {
  return { kind: "delete", key: { orgId, collection, id } };
}

function digestOf(pool: Pool): string {
  return createHash("sha256").update(JSON.stringify(pool)).digest("hex").slice(0, 32);
}

function userId(pool: string, decisionId: string): string {
  return `${pool}/${decisionId}`;
}

function nameOf(orgId: string, pool: string): string {
  return `${orgId}\n${pool}`;
}
