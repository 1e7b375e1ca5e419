import { randomUUID } from "node:crypto";
import type { Logger } from "@berth/service-kit";
import { checkOnNode, type DeskOptions, leavingFrom, unknownLease } from "./allocation-desk.ts";
import type { Claim, LeaseHold, LedgerRefusal } from "./claim.ts";
import { holdName, idProblem, normalClaim, refused, sameClaim } from "./claim-shape.ts";
import type { Draft } from "./draft.ts";
import {
  type LeaseNow,
  type LeaseRules,
  leaseVoid,
  newLease,
  ownerProblem,
  renewedLease,
  ttlLeftMs,
  ttlProblem,
} from "./leases.ts";
import type { Decision } from "./transactions.ts";

/** A lease that is asked for. */
export interface LeaseRequest {
  /** Minted when absent; the same when the caller asks again. */
  readonly leaseId?: string | undefined;
  readonly claim: Claim;
  /** Who holds it. */
  readonly subject: string;
  readonly ttlMs: number;
  /** Store that it is given out for; "" for a caller of this cluster's own API. */
  readonly storeId: string;
}

/** A lease that is to last longer. */
export interface RenewRequest {
  readonly leaseId: string;
  /** From now, ms. */
  readonly ttlMs: number;
  /** Checked when given. */
  readonly subject?: string | undefined;
  /** Checked when given. */
  readonly storeId?: string | undefined;
}

/** The lease is held, durably. */
export interface Leased {
  readonly kind: "leased";
  readonly lease: LeaseHold;
  readonly ttlLeftMs: number;
}

/** No lease of that id is held, durably. */
export interface Released {
  readonly kind: "released";
}

/** Gives leases out, renews them and takes them back. */
export class LeaseDesk {
  readonly #options: DeskOptions & { readonly rules: LeaseRules; readonly logger: Logger };
  readonly #leaseNow: () => LeaseNow;

  constructor(
    options: DeskOptions & { readonly rules: LeaseRules; readonly logger: Logger },
    leaseNow: () => LeaseNow,
  ) {
    this.#options = options;
    this.#leaseNow = leaseNow;
  }

  /** Holds a claim for a while. */
  async lease(request: LeaseRequest): Promise<Leased | LedgerRefusal> {
    const { leaseId: id = randomUUID(), subject, storeId, ttlMs } = request;
    const { books, clock, rules, transactions } = this.#options;
    const problem =
      idProblem("lease_id", id) ?? idProblem("subject", subject) ?? ttlProblem(ttlMs, rules);
    if (problem !== undefined) return refused("invalid", problem);
    const claim = normalClaim(request.claim);
    const takenAt = clock.timestamp();
    const asked = { id, claim, subject, ttlMs, storeId, takenAt };
    const reach = () => [claim.nodeId, books.index.nodeOf(id) ?? []].flat();
    const outcome = await transactions.run(reach, (draft) => this.#give(draft, asked));
    return outcome.kind === "lease" ? this.#leased(outcome) : outcome;
  }

  /** Puts the end of a lease off. */
  async renew({ leaseId, ttlMs, ...by }: RenewRequest): Promise<Leased | LedgerRefusal> {
    const { rules } = this.#options;
    const outcome = await this.#change(leaseId, (draft): LeaseHold | LedgerRefusal => {
      const lease = draft.written(leaseId);
      if (lease?.kind !== "lease") return unknownLease(leaseId);
      const problem = ownerProblem(lease, by);
      if (problem !== undefined) return problem;
      const renewed = renewedLease(lease, ttlMs, { now: draft.now, rules });
      if (renewed.kind === "lease") draft.put(renewed);
      return renewed;
    });
    return outcome.kind === "lease" ? this.#leased(outcome) : outcome;
  }

  /** Ends a lease; one that is not there has ended. */
  release({
    leaseId,
    subject,
  }: {
    readonly leaseId: string;
    readonly subject?: string | undefined;
  }): Promise<Released | LedgerRefusal> {
    return this.#change(leaseId, (draft): Released | LedgerRefusal => {
      const lease = draft.written(leaseId);
      if (lease?.kind !== "lease") return { kind: "released" };
      const problem = ownerProblem(lease, { subject });
      if (problem !== undefined) return problem;
      draft.remove(lease);
      return { kind: "released" };
    });
  }

  /** Strikes the void leases out. A node that cannot be written now is left for the next time. */
  async sweep(): Promise<void> {
    const now = this.#leaseNow();
    const { books, logger, transactions } = this.#options;
    const due = books.all().filter(({ isReady, working }) => {
      return !isReady || [...working.holds.values()].some((hold) => isVoidLease(hold, now));
    });
    const sweeps = due.map(async ({ nodeId }) => {
      try {
        await transactions.run(
          () => [nodeId],
          (draft) => {
            const written = books.find(nodeId)?.working.holds.values() ?? [];
            if ([...written].some((hold) => isVoidLease(hold, draft.now))) draft.touch(nodeId);
            return { kind: "answer", value: { kind: "swept" } };
          },
        );
      } catch (err) {
        logger.warn("leases that have ended are not struck out yet", { node: nodeId, err });
      }
    });
    await Promise.all(sweeps);
  }

  #give(draft: Draft, asked: Parameters<typeof newLease>[0]): Decision<LeaseHold> {
    const { id, claim } = asked;
    const answer = (
      value: LeaseHold | LedgerRefusal,
      lookedAtAll = false,
    ): Decision<LeaseHold> => ({
      kind: "answer",
      value,
      lookedAtAll,
    });
    const known = draft.find(id);
    if (known !== undefined) return answer(sameLease(known, asked));
    const { books } = this.#options;
    const nodeId = leavingFrom(draft, books, { allocationId: id, claim });
    if (nodeId !== undefined) return { kind: "later", nodeId };
    const lease = newLease(asked, draft.now);
    const foreign = leaseVoid(lease, draft.now) ?? checkOnNode(draft, claim, this.#options);
    if (foreign !== undefined) return answer(foreign);
    const overCap = this.#capRefusal(draft, asked.subject);
    if (overCap !== undefined) return answer(overCap, true);
    draft.put(lease);
    return answer(lease);
  }

  #capRefusal(draft: Draft, subject: string): LedgerRefusal | undefined {
    const { books, rules } = this.#options;
    const { maxLeases, maxLeasesPerSubject } = rules;
    const { index } = books;
    const counting = (ids: Iterable<string>) => {
      let count = 0;
      for (const id of ids) {
        // One whose end is being written is still there.
        const written = draft.written(id);
        if (written === undefined || !isVoidLease(written, draft.now)) count += 1;
      }
      return count;
    };
    const isFull = (count: number, cap: number, ids: () => Iterable<string>) =>
      count >= cap && counting(ids()) >= cap;
    const own = index.leasesOf(subject);
    if (isFull(own, maxLeasesPerSubject, () => index.leaseIds(subject))) {
      return refused("over_cap", `subject ${subject} holds ${own} leases, the most it may`);
    }
    if (isFull(index.leaseCount, maxLeases, () => index.leaseIds())) {
      return refused("over_cap", `${index.leaseCount} leases are held, the most there may be`);
    }
    return undefined;
  }

  #change<T extends { readonly kind: string }>(
    id: string,
    change: (draft: Draft) => T | LedgerRefusal,
  ): Promise<T | LedgerRefusal> {
    const { books, transactions } = this.#options;
    return transactions.run<T>(
      () => [books.index.nodeOf(id) ?? []].flat(),
      (draft) => ({ kind: "answer", value: change(draft) }),
    );
  }

  #leased(lease: LeaseHold): Leased {
    return { kind: "leased", lease, ttlLeftMs: ttlLeftMs(lease, this.#leaseNow()) };
  }
}

function isVoidLease(hold: Parameters<typeof holdName>[0], now: LeaseNow): boolean {
  return hold.kind === "lease" && leaseVoid(hold, now) !== undefined;
}

function sameLease(
  known: Parameters<typeof holdName>[0],
  asked: Parameters<typeof newLease>[0],
): LeaseHold | LedgerRefusal {
  const isSame =
    known.kind === "lease" &&
    known.subject === asked.subject &&
    known.storeId === asked.storeId &&
    sameClaim(known.claim, asked.claim);
  if (isSame) return known;
  const what = "is there with another claim, subject or store";
  return refused("exists", `lease_id: ${holdName(known)} ${what}`);
}
