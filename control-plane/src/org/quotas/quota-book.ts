import { randomUUID } from "node:crypto";
import {
  allPages,
  BerthError,
  type Clock,
  type DocumentStore,
  type Logger,
  type Write,
} from "@berth/service-kit";
import { changedQuota, isSameQuota, newQuota, type Quota } from "./quota.ts";
import { QuotaTree } from "./quota-tree.ts";

/** What a {@link QuotaBook} is kept with. */
export interface QuotaBookDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A quota and its optimistic lock. */
export interface KeptQuota {
  readonly quota: Quota;
  /** 1 at first, one more with each change. */
  readonly revision: number;
}

/** Most quotas of an org. */
const MAX_QUOTAS = 100_000;
const COLLECTION = "quotas";

type Body = Readonly<Record<string, unknown>>;

/**
 * The durable quotas of an org, read from memory. A write is checked against all writes before it, whether these are durable
 * already or not, so that no two of them break a rule together, and is durable when it resolves; the store joins those that
 * come at a time. When the store fails, what was not durable is forgotten.
 */
export class QuotaBook {
  readonly #deps: QuotaBookDeps;
  /** As the store has them. */
  #durable = new Map<string, KeptQuota>();
  /** With the writes that are on their way. */
  #working = new Map<string, KeptQuota>();
  #tree = new QuotaTree();
  readonly #writing = new Set<Promise<unknown>>();
  /** Takes back what was not written; undefined while nothing went wrong. */
  #repairing: Promise<void> | undefined;
  #sorted: readonly KeptQuota[] | undefined;
  readonly #listeners = new Set<() => void>();

  constructor(deps: QuotaBookDeps) {
    this.#deps = deps;
  }

  /** Reads what the store knows; called once, before anything else. */
  async load(): Promise<void> {
    const { store, orgId } = this.#deps;
    const found = new Map<string, KeptQuota>();
    const collection = { orgId, collection: COLLECTION };
    for await (const { id, revision, body } of allPages<Quota>(store, collection)) {
      found.set(id, { quota: body, revision });
    }
    this.#durable = found;
    this.#workFromDurable();
  }

  /** Calls back at each durable change; gives the function that ends that. The listener must not throw. */
  onChange(listener: () => void): () => void {
    const own = () => listener();
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** One quota; NOT_FOUND when there is none. */
  get(quotaId: string): KeptQuota {
    const kept = this.#durable.get(quotaId);
    if (kept === undefined) throw notFound(quotaId);
    return kept;
  }

  /** All, in the order of their ids. */
  all(): readonly KeptQuota[] {
    this.#sorted ??= [...this.#durable.values()].sort((one, other) =>
      one.quota.quotaId < other.quota.quotaId ? -1 : 1,
    );
    return this.#sorted;
  }

  /** Writes a new quota. INVALID_ARGUMENT names the field; ALREADY_EXISTS; and what {@link QuotaTree.put} throws. */
  create(body: Body): Promise<KeptQuota> {
    return this.#write(() => {
      const quota = newQuota(body, { mintId: randomUUID, now: this.#deps.clock.timestamp() });
      const { quotaId } = quota;
      if (this.#working.has(quotaId)) {
        throw new BerthError("ALREADY_EXISTS", `quota ${quoted(quotaId)} exists already`);
      }
      if (this.#working.size >= MAX_QUOTAS) {
        throw new BerthError("OVERLOADED", `an org has at most ${MAX_QUOTAS} quotas`);
      }
      this.#tree.put(quota);
      const kept = { quota, revision: 1 };
      this.#working.set(quotaId, kept);
      return { kept, write: { kind: "insert", key: this.#key(quotaId), body: quota } };
    });
  }

  /**
   * Changes the fields that the body names; nothing is written when that changes nothing. NOT_FOUND; STALE_REVISION when
   * `ifRevision` is not the newest one; INVALID_ARGUMENT names the field; and what {@link QuotaTree.put} throws.
   */
  change(quotaId: string, body: Body, ifRevision?: number): Promise<KeptQuota> {
    return this.#write(() => {
      const before = this.#current(quotaId, ifRevision);
      const quota = changedQuota(before.quota, body, this.#deps.clock.timestamp());
      if (isSameQuota(quota, before.quota)) return { kept: before };
      this.#tree.put(quota);
      const kept = { quota, revision: before.revision + 1 };
      this.#working.set(quotaId, kept);
      const write = { kind: "replace", key: this.#key(quotaId), body: quota } as const;
      return { kept, write: { ...write, ifRevision: before.revision } };
    });
  }

  /** Removes a quota. NOT_FOUND; STALE_REVISION; CONFLICT while others stand below it. */
  async remove(quotaId: string, ifRevision?: number): Promise<void> {
    await this.#write(() => {
      const kept = this.#current(quotaId, ifRevision);
      this.#tree.remove(quotaId);
      this.#working.delete(quotaId);
      const write = { kind: "delete", key: this.#key(quotaId) } as const;
      return { kept, write: { ...write, ifRevision: kept.revision } };
    });
  }

  /** One write: `plan` checks it and works it in, without a pause, or throws and changes nothing. */
  async #write(plan: () => { kept: KeptQuota; write?: Write }): Promise<KeptQuota> {
    if (this.#repairing !== undefined) await this.#repairing;
    const { kept, write } = plan();
    if (write === undefined) return kept;
    const applied = this.#deps.store.apply([write]);
    const settled = applied.catch(() => undefined);
    this.#writing.add(settled);
    try {
      const outcome = await applied;
      if (outcome.kind === "refused") {
        const { quotaId } = kept.quota;
        throw new BerthError("UNAVAILABLE", `quota ${quoted(quotaId)} was not written; try again`);
      }
      this.#keep(kept, write.kind);
      return kept;
    } catch (thrown) {
      this.#repairing ??= this.#repair();
      throw thrown;
    } finally {
      this.#writing.delete(settled);
    }
  }

  #keep(kept: KeptQuota, kind: Write["kind"]): void {
    const { quotaId } = kept.quota;
    if (kind === "delete") this.#durable.delete(quotaId);
    else this.#durable.set(quotaId, kept);
    this.#sorted = undefined;
    for (const listener of this.#listeners) listener();
  }

  /** Once nothing is on its way, what the store has counts. */
  async #repair(): Promise<void> {
    while (this.#writing.size > 0) await Promise.all(this.#writing);
    try {
      await this.load();
    } catch (err) {
      this.#deps.logger.error("quotas could not be read again", { err });
      this.#workFromDurable();
    }
    this.#repairing = undefined;
  }

  #workFromDurable(): void {
    this.#working = new Map(this.#durable);
    this.#sorted = undefined;
    this.#tree = new QuotaTree();
    const putIn = ({ quota }: KeptQuota): void => {
      const { parentId, quotaId } = quota;
      if (this.#tree.has(quotaId)) return;
      const parent = parentId === undefined ? undefined : this.#working.get(parentId);
      if (parent !== undefined) putIn(parent);
      this.#tree.put(quota);
    };
    for (const kept of this.#working.values()) putIn(kept);
  }

  #current(quotaId: string, ifRevision: number | undefined): KeptQuota {
    const kept = this.#working.get(quotaId);
    if (kept === undefined) throw notFound(quotaId);
    if (ifRevision === undefined || ifRevision === kept.revision) return kept;
    const message = `If-Match: quota ${quoted(quotaId)} has revision ${kept.revision}, expected ${ifRevision}`;
    throw new BerthError("STALE_REVISION", message, { details: { revision: kept.revision } });
  }

  #key(id: string) {
    return { orgId: this.#deps.orgId, collection: COLLECTION, id };
  }
}

function notFound(quotaId: string): BerthError {
  return new BerthError("NOT_FOUND", `no quota ${quoted(quotaId)}`);
}

function quoted(id: string): string {
  return JSON.stringify(id.slice(0, 100));
}
