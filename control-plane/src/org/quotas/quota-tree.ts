import { BerthError } from "@berth/service-kit";
import { type GpuAmounts, gpusText } from "./gpu-amounts.ts";
import type { Quota } from "./quota.ts";

/** Part of a quota that the tree is made of. */
export type TreeQuota = Pick<Quota, "quotaId" | "parentId" | "nominal" | "limit">;

/** What stands in the way of a charge. */
export interface QuotaObstacle {
  /** The quota whose bound it is: the charged one or one above it. */
  readonly quotaId: string;
  readonly flavor: string;
  /** `limit`: what it may use at most; `nominal`: what the top of the tree has to give. */
  readonly bound: "limit" | "nominal";
  /** Thousandths of GPUs. */
  readonly boundMilli: number;
  readonly usedMilli: number;
  readonly askedMilli: number;
  /** Most that could be charged now. */
  readonly fitsMilli: number;
}

/** Longest way from a quota to the top of its tree. */
const MAX_DEPTH = 16;

interface Node {
  quota: TreeQuota;
  readonly children: Set<string>;
  /** What all below it and itself use, thousandths of GPUs by flavor. */
  readonly used: Map<string, number>;
  /** What its children have as their own. */
  readonly given: Map<string, number>;
}

/**
 * The quotas of an org as a tree, with what each uses. Its rules, at every moment: what the children of a quota have as
 * their own is no more than what it has; a quota uses no more than its limit, and a tree no more than what its top has. So a
 * quota may borrow beyond its own share what its parent has free. Changes are whole or not at all.
 */
export class QuotaTree {
  readonly #nodes = new Map<string, Node>();

  /** Whether a quota is there. */
  has(quotaId: string): boolean {
    return this.#nodes.has(quotaId);
  }

  /**
   * Puts a quota in, or another one in its place. NOT_FOUND when its parent is not there; PRECONDITION_FAILED when a rule
   * would not hold, or when it would stand below itself.
   */
  put(quota: TreeQuota): void {
    const before = this.#nodes.get(quota.quotaId);
    this.#checkParent(quota);
    this.#checkShares(quota, before);
    this.#checkUse(quota, before);
    const isMoved = before !== undefined && before.quota.parentId !== quota.parentId;
    if (isMoved) this.#checkMove(quota, before);
    this.restore(quota);
  }

  /** {@link put} of what was there before, whatever the rules say. */
  restore(quota: TreeQuota): void {
    const before = this.#nodes.get(quota.quotaId);
    if (before !== undefined) this.#detach(before);
    const node = before ?? newNode(quota);
    node.quota = quota;
    this.#nodes.set(quota.quotaId, node);
    this.#attach(node);
  }

  /** Takes a quota out; nothing happens when it is not there. CONFLICT while others stand below it or it uses something. */
  remove(quotaId: string): void {
    const node = this.#nodes.get(quotaId);
    if (node === undefined) return;
    const [child] = node.children;
    if (child !== undefined) {
      const more = node.children.size > 1 ? ` and ${node.children.size - 1} more` : "";
      throw new BerthError(
        "CONFLICT",
        `quota ${quoted(quotaId)} has ${quoted(child)}${more} below it`,
      );
    }
    const used = [...node.used].find(([, milli]) => milli > 0);
    if (used !== undefined) {
      const [flavor, milli] = used;
      const message = `quota ${quoted(quotaId)} uses ${gpusText(milli)} of ${flavor}`;
      throw new BerthError("CONFLICT", message);
    }
    this.#detach(node);
    this.#nodes.delete(quotaId);
  }

  /** Counts what a quota uses, here and above it, where it fits; what stands in the way otherwise. NOT_FOUND without the quota. */
  charge(quotaId: string, flavor: string, milli: number): QuotaObstacle | undefined {
    const obstacle = this.obstacle(quotaId, flavor, milli);
    if (obstacle === undefined) this.#use(quotaId, flavor, milli);
    return obstacle;
  }

  /** Counts it no more. */
  release(quotaId: string, flavor: string, milli: number): void {
    this.#use(quotaId, flavor, -milli);
  }

  /** Counts what is used already, whatever the rules say. */
  adopt(quotaId: string, flavor: string, milli: number): void {
    this.#use(quotaId, flavor, milli);
  }

  /** What stands in the way of a charge: the tightest bound on the way up; undefined when it fits. */
  obstacle(quotaId: string, flavor: string, milli: number): QuotaObstacle | undefined {
    let tightest: QuotaObstacle | undefined;
    for (const { quota, used } of this.#wayUp(quotaId)) {
      const bound = boundOf(quota, flavor);
      if (bound === undefined) continue;
      const usedMilli = used.get(flavor) ?? 0;
      const fitsMilli = Math.max(0, bound.milli - usedMilli);
      if (fitsMilli >= milli || (tightest !== undefined && tightest.fitsMilli <= fitsMilli))
        continue;
      const amounts = { boundMilli: bound.milli, usedMilli, askedMilli: milli, fitsMilli };
      tightest = { quotaId: quota.quotaId, flavor, bound: bound.kind, ...amounts };
    }
    return tightest;
  }

  /** The quotas that stand right below one. */
  childrenOf(quotaId: string): Iterable<string> {
    return this.#nodes.get(quotaId)?.children ?? [];
  }

  /** What a quota and all below it use, with what is on its way. */
  usedBy(quotaId: string): GpuAmounts {
    const used = this.#nodes.get(quotaId)?.used ?? [];
    return Object.fromEntries([...used].filter(([, milli]) => milli > 0));
  }

  #checkParent({ quotaId, parentId }: TreeQuota): void {
    if (parentId === undefined) return;
    if (!this.#nodes.has(parentId)) {
      throw new BerthError("NOT_FOUND", `parent_id: there is no quota ${quoted(parentId)}`);
    }
    const above = this.#wayUp(parentId).map(({ quota }) => quota.quotaId);
    if (parentId === quotaId || above.includes(quotaId)) {
      const message = `parent_id: quota ${quoted(quotaId)} would stand below itself`;
      throw new BerthError("PRECONDITION_FAILED", message);
    }
    if (above.length + this.#height(quotaId) > MAX_DEPTH) {
      const message = `parent_id: expected a tree of at most ${MAX_DEPTH} levels`;
      throw new BerthError("PRECONDITION_FAILED", message);
    }
  }

  /** Levels from a quota down to its deepest one; 1 of one that is alone or new. */
  #height(quotaId: string): number {
    const heights = [...(this.#nodes.get(quotaId)?.children ?? [])].map((id) => this.#height(id));
    return 1 + Math.max(0, ...heights);
  }

  #checkShares(quota: TreeQuota, before: Node | undefined): void {
    const { parentId, nominal = {} } = quota;
    const parent = parentId === undefined ? undefined : this.#nodes.get(parentId);
    if (parent?.quota.nominal !== undefined) {
      const isThere = before?.quota.parentId === parentId;
      checkGiven(nominal, parent, isThere ? before?.quota.nominal : undefined);
    }
    if (quota.nominal !== undefined) checkGiving(quota, before);
  }

  /** A bound is not drawn below what is used. One that is broken already, by what was there, may stay, and may be widened. */
  #checkUse(quota: TreeQuota, before: Node | undefined): void {
    for (const [flavor, used] of before?.used ?? []) {
      const bound = boundOf(quota, flavor);
      if (bound === undefined || used <= bound.milli) continue;
      const former = before === undefined ? undefined : boundOf(before.quota, flavor);
      if (former !== undefined && former.milli <= bound.milli) continue;
      const message = `${bound.kind}.${flavor}: ${quoted(quota.quotaId)} uses ${gpusText(used)}, expected at least that`;
      throw new BerthError("PRECONDITION_FAILED", message);
    }
  }

  /** What a quota uses must fit where it goes; what is common to both ways is no matter. */
  #checkMove({ quotaId, parentId }: TreeQuota, before: Node): void {
    const former = new Set(this.#wayUp(quotaId));
    const coming = parentId === undefined ? [] : this.#wayUp(parentId);
    for (const { quota, used } of coming.filter((node) => !former.has(node))) {
      for (const [flavor, milli] of before.used) {
        const bound = boundOf(quota, flavor);
        if (bound === undefined || (used.get(flavor) ?? 0) + milli <= bound.milli) continue;
        const message = `parent_id: ${quoted(quotaId)} uses ${gpusText(milli)} of ${flavor}, which does not fit below ${quoted(quota.quotaId)}`;
        throw new BerthError("PRECONDITION_FAILED", message);
      }
    }
  }

  #attach(node: Node): void {
    const { quotaId, parentId, nominal = {} } = node.quota;
    const parent = parentId === undefined ? undefined : this.#nodes.get(parentId);
    if (parent === undefined) return;
    parent.children.add(quotaId);
    for (const [flavor, milli] of Object.entries(nominal)) add(parent.given, flavor, milli);
    for (const above of this.#wayUp(parent.quota.quotaId)) {
      for (const [flavor, milli] of node.used) add(above.used, flavor, milli);
    }
  }

  #detach(node: Node): void {
    const { quotaId, parentId, nominal = {} } = node.quota;
    const parent = parentId === undefined ? undefined : this.#nodes.get(parentId);
    if (parent === undefined) return;
    parent.children.delete(quotaId);
    for (const [flavor, milli] of Object.entries(nominal)) add(parent.given, flavor, -milli);
    for (const above of this.#wayUp(parent.quota.quotaId)) {
      for (const [flavor, milli] of node.used) add(above.used, flavor, -milli);
    }
  }

  #use(quotaId: string, flavor: string, milli: number): void {
    for (const { used } of this.#wayUp(quotaId)) add(used, flavor, milli);
  }

  /** A quota, its parent, and so on to the top; a store that came from a damaged mirror may lack one, and ends there. */
  #wayUp(quotaId: string): readonly Node[] {
    const way: Node[] = [];
    for (let id: string | undefined = quotaId; id !== undefined; ) {
      const node: Node | undefined = this.#nodes.get(id);
      if (node === undefined && way.length === 0) {
        throw new BerthError("NOT_FOUND", `no quota ${quoted(id)}`);
      }
      if (node === undefined) break;
      way.push(node);
      id = node.quota.parentId;
    }
    return way;
  }
}

/** What a quota has as its own must be left in its parent, where `former` of it is its own already. */
function checkGiven(nominal: GpuAmounts, { quota, given }: Node, former: GpuAmounts = {}): void {
  for (const [flavor, milli] of Object.entries(nominal)) {
    const all = quota.nominal?.[flavor] ?? 0;
    const left = Math.max(0, all - (given.get(flavor) ?? 0) + (former[flavor] ?? 0));
    if (milli <= left) continue;
    const message = `nominal.${flavor}: quota ${quoted(quota.quotaId)} has ${gpusText(left)} left to give, expected no more than that`;
    throw new BerthError("PRECONDITION_FAILED", message);
  }
}

/** A quota must have what those below it have as their own. */
function checkGiving({ quotaId, nominal = {} }: TreeQuota, before: Node | undefined): void {
  for (const [flavor, given] of before?.given ?? []) {
    if (given <= (nominal[flavor] ?? 0)) continue;
    const message = `nominal.${flavor}: the quotas below ${quoted(quotaId)} have ${gpusText(given)} of their own, expected at least that`;
    throw new BerthError("PRECONDITION_FAILED", message);
  }
}

/** What bounds the use of a quota: its limit; at the top what it has; the tighter one. */
function boundOf(
  { parentId, nominal, limit }: TreeQuota,
  flavor: string,
): { readonly kind: "limit" | "nominal"; readonly milli: number } | undefined {
  const most = limit?.[flavor];
  const own = parentId === undefined && nominal !== undefined ? (nominal[flavor] ?? 0) : undefined;
  if (own !== undefined && (most === undefined || own <= most))
    return { kind: "nominal", milli: own };
  return most === undefined ? undefined : { kind: "limit", milli: most };
}

function newNode(quota: TreeQuota): Node {
  return { quota, children: new Set(), used: new Map(), given: new Map() };
}

function add(amounts: Map<string, number>, flavor: string, milli: number): void {
  const sum = (amounts.get(flavor) ?? 0) + milli;
  if (sum === 0) amounts.delete(flavor);
  else amounts.set(flavor, sum);
}

function quoted(id: string): string {
  return JSON.stringify(id.slice(0, 100));
}
