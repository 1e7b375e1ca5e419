import { randomUUIDv7 } from "node:crypto";
import { BerthError, type Clock } from "@berth/service-kit";
import type { OrgBooks } from "../../org/org-books.ts";
import { replicaBounds } from "../../org/profiles/replica-bounds.ts";
import type { Quota } from "../../org/quotas/quota.ts";
import type { Plan } from "../../org/store/org-transactions.ts";
import { ReplicaCharges } from "./replica-charges.ts";
import type { ScaleBook } from "./scale-book.ts";
import type { ScaleListeners } from "./scale-listeners.ts";
import { allocationMessage, approvalSubject, type BusText } from "./scale-messages.ts";
import {
  givesWay,
  type ScaleOrigin,
  type ScaleRequest,
  scaleRequestDocument,
} from "./scale-request.ts";

/** What {@link Scaling} works with. */
export interface ScalingDeps {
  readonly orgId: string;
  readonly books: OrgBooks;
  readonly scale: ScaleBook;
  readonly clock: Clock;
  readonly listeners: ScaleListeners;
  /** Why nothing comes of requests of the autoscaler for a subject now: it is paused; undefined: nothing is against them. */
  readonly reasonAgainst: (subjectId: string) => string | undefined;
}

/** What somebody wants. */
export interface AskedReplicas {
  readonly subjectId: string;
  /** Which of the subject's quotas, where it has several. */
  readonly quotaId?: string | undefined;
  readonly replicas: number;
  readonly origin: ScaleOrigin;
  /** For people. */
  readonly reason: string;
  readonly evaluationId?: string;
  /** Replicas that were desired when it was judged: with others, or with another request under way, it is refused (CONFLICT). */
  readonly judgedAt?: number;
  /** A human is to approve it within this time, ms. */
  readonly approvalWithinMs?: number;
}

/**
 * Requests to scale the replicas of quotas: each is written down, with what it charges, before anything is sent, and waits for
 * a human where one is to approve it. A newer request of a quota supersedes those before it.
 */
export class Scaling {
  readonly #deps: ScalingDeps;
  readonly #charges: ReplicaCharges;

  constructor(deps: ScalingDeps) {
    this.#deps = deps;
    this.#charges = new ReplicaCharges(deps);
  }

  /**
   * Takes a request; durable when it resolves. INVALID_ARGUMENT and NOT_FOUND name the field; PRECONDITION_FAILED names the bound
   * of replicas that it breaks; QUOTA_EXCEEDED says which quota has no room, and what would fit.
   */
  async request(asked: AskedReplicas): Promise<ScaleRequest> {
    const { transactions } = this.#deps.books;
    const { request, superseded } = await transactions.run((plan) => this.#plan(plan, asked));
    for (const older of superseded) this.#deps.listeners.over(older);
    if (request.state === "pending") this.#deps.listeners.pending(request);
    else this.#deps.listeners.waiting(request);
    return request;
  }

  /**
   * A human says whether a request may go on. NOT_FOUND; CONFLICT when nobody waits for that any more, when it is approved too late,
   * when other replicas are desired than when it was asked, or while the autoscaler is to change nothing; PRECONDITION_FAILED when the bounds of its quota have changed, and
   * QUOTA_EXCEEDED when there is no room for it.
   */
  async decide(uuid: string, isApproved: boolean, by: string): Promise<ScaleRequest> {
    const { books, scale, clock } = this.#deps;
    const request = await books.transactions.run((plan) => {
      const before = scale.planned(uuid);
      if (before === undefined) throw new BerthError("NOT_FOUND", `no request ${uuid}`);
      if (before.state !== "awaiting_approval") {
        throw new BerthError("CONFLICT", `request ${uuid} is ${before.state}: nobody waits for it`);
      }
      if (isApproved) this.#checkApproval(before);
      const word = isApproved ? "approved" : "rejected";
      const { approvalEndsAtMs: _ended, ...rest } = before;
      const after: ScaleRequest = {
        ...rest,
        state: isApproved ? "pending" : "rejected",
        reason: `${before.reason}; ${word} by ${by}`,
        updatedAt: clock.timestamp(),
      };
      if (!isApproved) {
        scale.put(plan, after);
        scale.send(plan, allocationMessage(this.#deps.orgId, after));
        return after;
      }
      return this.#accept(plan, after);
    });
    if (isApproved) this.#deps.listeners.pending(request);
    else this.#deps.listeners.over(request);
    return request;
  }

  /** A request that waits for a human is wanted no more; nothing happens when it does not wait. */
  async withdraw(uuid: string, why: string): Promise<void> {
    const { orgId, books, scale, clock } = this.#deps;
    const request = await books.transactions.run((plan) => {
      const before = scale.planned(uuid);
      if (before?.state !== "awaiting_approval") return undefined;
      const { approvalEndsAtMs: _ended, ...rest } = before;
      const reason = `${before.reason}; ${why}`;
      const after: ScaleRequest = {
        ...{ ...rest, reason, state: "superseded", updatedAt: clock.timestamp() },
      };
      scale.put(plan, after);
      scale.send(plan, allocationMessage(orgId, after));
      return after;
    });
    if (request !== undefined) this.#deps.listeners.over(request);
  }

  /**
   * Looks at what waits for a human: what nobody has approved in time is rejected, what nobody can approve any more is withdrawn. `nowMs` is the
   * time of day.
   */
  async reviewApprovals(nowMs: number): Promise<void> {
    for (const request of this.#deps.scale.open()) {
      const { uuid, approvalEndsAtMs } = request;
      if (approvalEndsAtMs === undefined) continue;
      if (approvalEndsAtMs <= nowMs) await this.#expire(uuid);
      else {
        const why = this.#reasonToWithdraw(request);
        if (why !== undefined) await this.withdraw(uuid, `withdrawn: ${why}`);
      }
    }
  }

  async #expire(uuid: string): Promise<void> {
    try {
      await this.decide(uuid, false, "nobody in time");
    } catch (thrown) {
      // Somebody has decided in the meantime.
      if (!(thrown instanceof BerthError && thrown.reason === "CONFLICT")) throw thrown;
    }
  }

  /** Why nobody can agree to what the autoscaler has asked a human for; undefined: somebody can, or it is a person's own request. */
  #reasonToWithdraw(request: ScaleRequest): string | undefined {
    const { books, reasonAgainst } = this.#deps;
    const { quotaId, subjectId, before } = request;
    if (!givesWay(request) || !books.quotas.tree.has(quotaId)) return undefined;
    const { replicas } = books.quotas.planned(quotaId).quota;
    const changed = `${before} replicas were desired when it was asked, ${replicas} now`;
    return reasonAgainst(subjectId) ?? (replicas === before ? undefined : changed);
  }

  /** Nobody may agree when the time is over, to what may not be asked for any more, or when it would change something else than was asked. */
  #checkApproval(request: ScaleRequest): void {
    const { books, scale, clock } = this.#deps;
    const { uuid, quotaId, replicas, before, approvalEndsAtMs = 0 } = request;
    if (approvalEndsAtMs <= Date.parse(clock.timestamp())) {
      const ended = new Date(approvalEndsAtMs).toISOString();
      throw new BerthError("CONFLICT", `request ${uuid} was to be approved until ${ended}`);
    }
    this.#checkOrigin(request);
    const { quota } = books.quotas.planned(quotaId);
    const others = scale.open(quotaId).filter((other) => other.uuid !== uuid);
    checkStill(quota, before, others);
    checkReplicas(quota, replicas);
  }

  #checkOrigin({ origin, subjectId }: Pick<ScaleRequest, "origin" | "subjectId">): void {
    const why = origin === "autoscaler" ? this.#deps.reasonAgainst(subjectId) : undefined;
    if (why !== undefined)
      throw new BerthError("CONFLICT", `the autoscaler changes nothing: ${why}`);
  }

  #plan(plan: Plan, asked: AskedReplicas) {
    const { orgId, scale, clock } = this.#deps;
    const quota = this.#quotaOf(asked);
    this.#checkOrigin(asked);
    checkReplicas(quota, asked.replicas);
    if (asked.judgedAt !== undefined) checkStill(quota, asked.judgedAt, scale.open(quota.quotaId));
    const { quotaId, replicas: before } = quota;
    const scaled = scale.quota(quotaId);
    const now = clock.timestamp();
    const { approvalWithinMs: withinMs } = asked;
    const waits = withinMs !== undefined;
    const request: ScaleRequest = {
      ...{ uuid: randomUUIDv7(), subjectId: asked.subjectId, quotaId },
      ...{ generation: scaled.generation + 1, replicas: asked.replicas, before },
      ...{ origin: asked.origin, reason: asked.reason },
      ...(asked.evaluationId === undefined ? {} : { evaluationId: asked.evaluationId }),
      state: waits ? "awaiting_approval" : "pending",
      ...(waits ? { approvalEndsAtMs: Date.parse(now) + withinMs } : {}),
      ...{ createdAt: now, updatedAt: now },
    };
    const open = scale.open(quotaId);
    const superseded = open.map(({ answer: _untold, ...older }): ScaleRequest => {
      return { ...older, state: "superseded", updatedAt: now };
    });
    for (const older of superseded) {
      scale.put(plan, older);
      scale.send(plan, allocationMessage(orgId, older));
    }
    scale.putQuota(plan, quotaId, { ...scaled, generation: request.generation });
    scale.prune(plan);
    if (waits) {
      scale.put(plan, request);
      scale.send(plan, approvalMessage(orgId, request));
      return { request, superseded };
    }
    // What was not sent yet is charged no more.
    const unsent = superseded.find((_, place) => open[place]?.state === "pending");
    return { request: this.#accept(plan, request, unsent), superseded };
  }

  /** QUOTA_EXCEEDED when there is no room for it. */
  #accept(plan: Plan, request: ScaleRequest, unsent?: ScaleRequest): ScaleRequest {
    const { scale } = this.#deps;
    const charged = this.#charges.charge(plan, request, unsent);
    scale.put(plan, charged);
    return charged;
  }

  #quotaOf({ subjectId, quotaId }: AskedReplicas): Quota {
    const { quotas } = this.#deps.books;
    const shown = JSON.stringify(subjectId.slice(0, 100));
    if (quotaId !== undefined) {
      const { quota } = quotas.planned(quotaId);
      if (quota.subjectId === subjectId) return quota;
      throw new BerthError("INVALID_ARGUMENT", `quota_id: it is no quota of subject ${shown}`);
    }
    const found = quotas.ofSubject(subjectId);
    const [only] = found;
    if (only === undefined) {
      throw new BerthError("NOT_FOUND", `subject_id: subject ${shown} has no quota`);
    }
    if (found.length === 1) return only.quota;
    const ids = found.map(({ quota }) => quota.quotaId);
    const message = `quota_id: subject ${shown} has several quotas, expected one of ${ids.slice(0, 10).join(", ")}`;
    throw new BerthError("INVALID_ARGUMENT", message, { details: { quota_ids: ids } });
  }
}

/** The bounds of a quota and of its profile. */
function checkReplicas(quota: Quota, replicas: number): void {
  const { min, max } = replicaBounds(quota);
  if (replicas >= min && replicas <= max) return;
  const name = JSON.stringify(quota.quotaId.slice(0, 100));
  const message = `replica_count: quota ${name} has from ${min} to ${max} replicas, ${replicas} were asked for`;
  throw new BerthError("PRECONDITION_FAILED", message);
}

/** What was judged must still be so: no other request is under way, and as many replicas are desired. */
function checkStill(quota: Quota, judgedAt: number, open: readonly ScaleRequest[]): void {
  if (quota.replicas === judgedAt && open.every(givesWay)) return;
  const name = JSON.stringify(quota.quotaId.slice(0, 100));
  const message = `quota ${name} was changed meanwhile: ${judgedAt} replicas were desired when it was judged, ${quota.replicas} now`;
  throw new BerthError("CONFLICT", message);
}

function approvalMessage(orgId: string, request: ScaleRequest): BusText {
  return {
    subject: approvalSubject(orgId),
    text: JSON.stringify(scaleRequestDocument(request)),
    id: `approval/${request.uuid}`,
  };
}
