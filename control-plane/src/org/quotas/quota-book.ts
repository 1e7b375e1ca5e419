import { randomUUID } from "node:crypto";
import { BerthError, type Clock } from "@berth/service-kit";
import type { KeptDocuments } from "../store/kept-documents.ts";
import type { OrgTransactions, Plan } from "../store/org-transactions.ts";
import { BlockOwners } from "./block-owners.ts";
import { changedQuota, isSameQuota, type KeptQuota, newQuota, type Quota } from "./quota.ts";
import { QuotaTree } from "./quota-tree.ts";

/** What a {@link QuotaBook} is kept with. */
export interface QuotaBookDeps {
  /** In groups by their subjects. */
  readonly documents: KeptDocuments<Quota>;
  readonly transactions: OrgTransactions;
  readonly clock: Clock;
}

/** A quota that is written. */
export interface QuotaChange {
  readonly quotaId: string;
  /** As it will be; undefined when it is removed. */
  readonly quota: Quota | undefined;
  /** Undefined when it is new. */
  readonly before: Quota | undefined;
}

/** Writes what goes with a change of a quota, in its transaction; what it throws refuses the change. */
export type QuotaCompanion = (plan: Plan, change: QuotaChange) => void;

/** Most quotas of an org. */
const MAX_QUOTAS = 100_000;

type Body = Readonly<Record<string, unknown>>;

/** The durable quotas of an org, and the tree that they make with the writes that are on their way. */
export class QuotaBook {
  readonly #deps: QuotaBookDeps;
  #tree = new QuotaTree();
  #owners = new BlockOwners();
  #all: { readonly of: unknown; readonly kept: readonly KeptQuota[] } | undefined;

  readonly #reasons: ((quotaId: string) => string | undefined)[] = [];
  readonly #companions: QuotaCompanion[] = [];

  constructor(deps: QuotaBookDeps) {
    this.#deps = deps;
  }

  /** The rules of all quotas and what is used of them, with the writes that are on their way. */
  get tree(): QuotaTree {
    return this.#tree;
  }

  /** Takes what the store has; nothing is used of the tree then. */
  async reload(): Promise<void> {
    const { documents } = this.#deps;
    try {
      await documents.reload();
    } finally {
      const quotas = new Map([...documents.allPlanned()].map(([id, { body }]) => [id, body]));
      this.#tree = treeOf(quotas);
      this.#owners = new BlockOwners();
      for (const quota of quotas.values()) this.#owners.replace(undefined, quota);
    }
  }

  /** Calls back at each durable change; gives the function that ends that. The listener must not throw. */
  onChange(listener: () => void): () => void {
    return this.#deps.documents.onChange(listener);
  }

  /** One quota; NOT_FOUND when there is none. */
  get(quotaId: string): KeptQuota {
    const kept = this.#deps.documents.get(quotaId);
    if (kept === undefined) throw notFound(quotaId);
    return { quota: kept.body, revision: kept.revision };
  }

  /** One quota as it will be when everything is written; NOT_FOUND. */
  planned(quotaId: string): KeptQuota {
    return this.#current(quotaId, undefined);
  }

  /** The quota whose replicas are the instances of a block, on a cluster or on any, as it will be when everything is written. */
  plannedOfBlock(blockId: string, clusterId: string | undefined): KeptQuota | undefined {
    const owner = this.#owners.ownerOf(blockId, clusterId);
    return owner === undefined ? undefined : this.planned(owner.quotaId);
  }

  /** The quotas of a subject as the store has them, in the order of their ids. */
  ofSubject(subjectId: string): readonly KeptQuota[] {
    return this.#deps.documents
      .ofGroup(subjectId)
      .map(({ body: quota, revision }) => ({ quota, revision }));
  }

  /** All, in the order of their ids; the same list until one changes. */
  all(): readonly KeptQuota[] {
    const of = this.#deps.documents.all();
    if (this.#all?.of !== of) {
      this.#all = { of, kept: of.map(([, { body: quota, revision }]) => ({ quota, revision })) };
    }
    return this.#all.kept;
  }

  /**
   * Writes a new quota. INVALID_ARGUMENT names the field; ALREADY_EXISTS; and what {@link BlockOwners.check} and
   * {@link QuotaTree.put} throw.
   */
  create(body: Body): Promise<KeptQuota> {
    const { documents, transactions, clock } = this.#deps;
    return transactions.run((plan) => {
      const quota = newQuota(body, { mintId: randomUUID, now: clock.timestamp() });
      const { quotaId } = quota;
      if (documents.planned(quotaId) !== undefined) {
        throw new BerthError("ALREADY_EXISTS", `quota ${quoted(quotaId)} exists already`);
      }
      if (documents.size >= MAX_QUOTAS) {
        throw new BerthError("OVERLOADED", `an org has at most ${MAX_QUOTAS} quotas`);
      }
      return this.#put(plan, quota, undefined);
    });
  }

  /** {@link planChange} in a transaction of its own. */
  change(quotaId: string, body: Body, ifRevision?: number): Promise<KeptQuota> {
    return this.#deps.transactions.run((plan) => this.planChange(plan, quotaId, body, ifRevision));
  }

  /**
   * Changes the fields that the body names; nothing is written when that changes nothing. NOT_FOUND; STALE_REVISION when
   * `ifRevision` is not the newest one; INVALID_ARGUMENT names the field; and what {@link BlockOwners.check} and
   * {@link QuotaTree.put} throw.
   */
  planChange(plan: Plan, quotaId: string, body: Body, ifRevision?: number): KeptQuota {
    const before = this.#current(quotaId, ifRevision);
    const quota = changedQuota(before.quota, body, this.#deps.clock.timestamp());
    return isSameQuota(quota, before.quota) ? before : this.#put(plan, quota, before.quota);
  }

  /** Has quotas not be removed while there is a reason against it: {@link remove} says it then. */
  keepWhile(reason: (quotaId: string) => string | undefined): void {
    this.#reasons.push(reason);
  }

  /** Has something be written together with each quota that is written or removed. */
  accompany(companion: QuotaCompanion): void {
    this.#companions.push(companion);
  }

  /** Removes a quota. NOT_FOUND; STALE_REVISION; CONFLICT while others stand below it, it uses something, or there is a reason. */
  async remove(quotaId: string, ifRevision?: number): Promise<void> {
    const { documents, transactions } = this.#deps;
    await transactions.run((plan) => {
      const { quota } = this.#current(quotaId, ifRevision);
      const why = this.#reasons.map((reason) => reason(quotaId)).find((one) => one !== undefined);
      if (why !== undefined) throw new BerthError("CONFLICT", `quota ${quoted(quotaId)} ${why}`);
      this.#tree.remove(quotaId);
      this.#owners.replace(quota, undefined);
      documents.remove(plan, quotaId);
      plan.add({
        undo: () => {
          this.#tree.restore(quota);
          this.#owners.replace(undefined, quota);
        },
      });
      this.#accompany(plan, { quotaId, quota: undefined, before: quota });
    });
  }

  /** As it will be when everything is written; NOT_FOUND; STALE_REVISION. */
  #current(quotaId: string, ifRevision: number | undefined): KeptQuota {
    const kept = this.#deps.documents.planned(quotaId);
    if (kept === undefined) throw notFound(quotaId);
    const { body: quota, revision } = kept;
    if (ifRevision === undefined || ifRevision === revision) return { quota, revision };
    const message = `If-Match: quota ${quoted(quotaId)} has revision ${revision}, expected ${ifRevision}`;
    throw new BerthError("STALE_REVISION", message, { details: { revision } });
  }

  #put(plan: Plan, quota: Quota, before: Quota | undefined): KeptQuota {
    this.#owners.check(quota, before);
    this.#tree.put(quota);
    this.#owners.replace(before, quota);
    const { revision } = this.#deps.documents.put(plan, quota.quotaId, quota);
    plan.add({
      undo: () => {
        this.#owners.replace(quota, before);
        if (before === undefined) this.#tree.remove(quota.quotaId);
        else this.#tree.restore(before);
      },
    });
    this.#accompany(plan, { quotaId: quota.quotaId, quota, before });
    return { quota, revision };
  }

  #accompany(plan: Plan, change: QuotaChange): void {
    for (const companion of this.#companions) companion(plan, change);
  }
}

/** The tree of the quotas that there are, whatever the rules say, each behind its parent. */
function treeOf(quotas: ReadonlyMap<string, Quota>): QuotaTree {
  const tree = new QuotaTree();
  const putIn = (quota: Quota): void => {
    if (tree.has(quota.quotaId)) return;
    const parent = quota.parentId === undefined ? undefined : quotas.get(quota.parentId);
    if (parent !== undefined) putIn(parent);
    tree.restore(quota);
  };
  for (const quota of quotas.values()) putIn(quota);
  return tree;
}

function notFound(quotaId: string): BerthError {
  return new BerthError("NOT_FOUND", `no quota ${quoted(quotaId)}`);
}

function quoted(id: string): string {
  return JSON.stringify(id.slice(0, 100));
}
