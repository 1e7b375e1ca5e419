import type { Clock } from "@berth/service-kit";
import { checkClaim } from "./check-claim.ts";
import type { AllocationHold, Claim, LeaseHold, LedgerRefusal, Purpose } from "./claim.ts";
import {
  CLAIM_AMOUNTS,
  coversClaim,
  holdName,
  idProblem,
  normalClaim,
  refused,
  sameClaim,
} from "./claim-shape.ts";
import type { CapacityOf, Draft } from "./draft.ts";
import { leaseVoid, ownerProblem } from "./leases.ts";
import type { NodeBooks } from "./node-books.ts";
import type { Decision, Transactions } from "./transactions.ts";

/** One allocation that is asked for. */
export interface TakeRequest {
  /** Minted by the caller, and the same when it asks again. */
  readonly allocationId: string;
  readonly claim: Claim;
  readonly purpose: Purpose;
  /** Lease that becomes the allocation; subject and store are checked when given. */
  readonly lease?:
    | {
        readonly leaseId: string;
        readonly subject?: string | undefined;
        readonly storeId?: string | undefined;
      }
    | undefined;
}

/** All that was asked for is allocated, durably. */
export interface Taken {
  readonly kind: "taken";
  /** One per request, in their order. */
  readonly holds: readonly AllocationHold[];
}

/** Nothing is allocated under the id, durably. */
export interface Freed {
  readonly kind: "freed";
  /** What was allocated; absent when nothing was. */
  readonly hold?: AllocationHold;
}

/** An allocation is as it was asked to be, durably. */
export interface Kept {
  readonly kind: "kept";
  readonly hold: AllocationHold;
}

/** What {@link AllocationDesk} works on. */
export interface DeskOptions {
  readonly books: NodeBooks;
  readonly transactions: Transactions;
  readonly capacity: CapacityOf;
  readonly clock: Clock;
}

/** Gives allocations out and takes them back. */
export class AllocationDesk {
  readonly #options: DeskOptions;

  constructor(options: DeskOptions) {
    this.#options = options;
  }

  /** Takes all that is asked for, on however many nodes, or nothing. */
  take(requests: readonly TakeRequest[]): Promise<Taken | LedgerRefusal> {
    const asked = requests.map(normalRequest);
    const problem = requestsProblem(asked);
    if (problem !== undefined) return Promise.resolve(refused("invalid", problem));
    const { books, transactions } = this.#options;
    const ids = asked.flatMap(({ allocationId, lease }) => [allocationId, lease?.leaseId ?? []]);
    const reach = () => [
      ...asked.map(({ claim }) => claim.nodeId),
      ...ids.flat().flatMap((id) => books.index.nodeOf(id) ?? []),
    ];
    return transactions.run<Taken>(reach, (draft) => this.#takeAll(draft, asked));
  }

  /** Strikes an allocation out; one that is not there is free. */
  free(allocationId: string): Promise<Freed | LedgerRefusal> {
    return this.#change<Freed>(allocationId, (draft) => {
      const hold = draft.find(allocationId);
      if (hold?.kind === "lease") {
        const message = `${holdName(hold)} is no allocation: it is released, not freed`;
        return refused("invalid", message);
      }
      if (hold === undefined) return { kind: "freed" };
      draft.remove(hold);
      return { kind: "freed", hold };
    });
  }

  /** Puts an allocation into a state, with a note for people or without. */
  keep(
    allocationId: string,
    state: AllocationHold["state"],
    note?: string,
  ): Promise<Kept | LedgerRefusal> {
    return this.#change<Kept>(allocationId, (draft) => {
      const found = draft.find(allocationId);
      if (found?.kind !== "allocation") {
        return refused("invalid", `allocation_id: no allocation ${allocationId} is held`);
      }
      const { note: _former, ...rest } = found;
      const hold: AllocationHold = { ...rest, state, ...(note === undefined ? {} : { note }) };
      if (found.state !== state || found.note !== note) draft.put(hold);
      return { kind: "kept", hold };
    });
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

  #takeAll(draft: Draft, requests: readonly TakeRequest[]): Decision<Taken> {
    const holds: AllocationHold[] = [];
    for (const request of requests) {
      const outcome = this.#takeOne(draft, request);
      if (outcome.kind === "refused") return { kind: "answer", value: outcome };
      if (outcome.kind === "later") return outcome;
      holds.push(outcome);
    }
    return { kind: "answer", value: { kind: "taken", holds } };
  }

  #takeOne(
    draft: Draft,
    request: TakeRequest,
  ): AllocationHold | LedgerRefusal | { readonly kind: "later"; readonly nodeId: string } {
    const { allocationId, claim, purpose, lease } = request;
    if (lease?.leaseId !== allocationId) {
      const known = draft.find(allocationId);
      if (known !== undefined) return sameAllocation(known, request);
    }
    const refusal = lease && useLease(draft, { ...lease, claim });
    if (lease !== undefined && refusal !== undefined) {
      const known = draft.find(allocationId);
      if (known?.kind === "allocation") return sameAllocation(known, request);
      return { ...refusal, leaseId: lease.leaseId };
    }
    const nodeId = leavingFrom(draft, this.#options.books, request);
    if (nodeId !== undefined) return { kind: "later", nodeId };
    const checked = checkOnNode(draft, claim, this.#options);
    if (checked !== undefined) return checked;
    const takenAt = this.#options.clock.timestamp();
    const state = "committed";
    const hold: AllocationHold = {
      kind: "allocation",
      id: allocationId,
      claim,
      purpose,
      state,
      takenAt,
    };
    draft.put(hold);
    return hold;
  }
}

/** Why a claim cannot be met now; undefined when it can. */
export function checkOnNode(
  draft: Draft,
  claim: Claim,
  { books, capacity: capacityOf }: Pick<DeskOptions, "books" | "capacity">,
): LedgerRefusal | undefined {
  const { nodeId } = claim;
  const capacity = capacityOf(nodeId);
  if (capacity === undefined) return refused("unknown_node", `node ${nodeId} is not known`);
  const damage = books.find(nodeId)?.damage;
  if (damage !== undefined) return refused("node_refuses", damagedMessage(nodeId, damage));
  const holds = draft.holds(nodeId).values();
  const checked = checkClaim(claim, { capacity, holds, parents: draft.parents(nodeId) });
  return checked.kind === "ok" ? undefined : checked;
}

/** What is told of a node whose document is not ours. */
export function damagedMessage(nodeId: string, why: string): string {
  return `the ledger's document of node ${nodeId} is damaged, so all of it counts as taken: ${why}`;
}

/**
 * Node that an id must have left before it can be used on another one: its removal is not durable yet. A void lease of
 * that id is struck out instead.
 */
export function leavingFrom(
  draft: Draft,
  books: NodeBooks,
  { allocationId: id, claim }: Pick<TakeRequest, "allocationId" | "claim">,
): string | undefined {
  const nodeId = books.index.nodeOf(id);
  if (nodeId === undefined || nodeId === claim.nodeId) return undefined;
  if (draft.written(id) !== undefined) draft.touch(nodeId);
  else if (books.find(nodeId)?.isIdle === false) return nodeId;
  return undefined;
}

/** Strikes a lease out of the draft, for the claim that takes its place; a refusal when it may not be used so. */
function useLease(
  draft: Draft,
  {
    leaseId,
    claim,
    ...by
  }: {
    readonly leaseId: string;
    readonly claim: Claim;
    readonly subject?: string | undefined;
    readonly storeId?: string | undefined;
  },
): LedgerRefusal | undefined {
  const written = draft.written(leaseId);
  if (written?.kind !== "lease") return unknownLease(leaseId);
  const problem = ownerProblem(written, by) ?? leaseVoid(written, draft.now);
  if (problem !== undefined) return problem;
  const lease = draft.find(leaseId);
  if (lease?.kind !== "lease") return unknownLease(leaseId);
  if (!coversClaim(lease.claim, claim)) {
    return refused("invalid", shortfall(lease, claim));
  }
  draft.remove(lease);
  return undefined;
}

/** What a lease lacks of a claim that it does not cover. */
function shortfall({ id, claim: held }: LeaseHold, claim: Claim): string {
  const less = CLAIM_AMOUNTS.filter(({ field }) => claim[field] > held[field]).map(
    ({ field, unit }) => `${held[field]} of ${claim[field]} ${unit}`,
  );
  const lacks = less.length === 0 ? "another node or other devices" : less.join(", ");
  return `lease ${id} holds ${lacks}`;
}

/** No lease of that id is held. */
export function unknownLease(leaseId: string): LedgerRefusal {
  return refused("unknown_lease", `no lease ${leaseId} is held`);
}

function sameAllocation(
  known: NonNullable<ReturnType<Draft["find"]>>,
  { claim, purpose }: TakeRequest,
): AllocationHold | LedgerRefusal {
  const isSame =
    known.kind === "allocation" &&
    sameClaim(known.claim, claim) &&
    (["blockId", "instanceId", "operationId"] as const).every(
      (field) => known.purpose[field] === purpose[field],
    );
  if (isSame) return known;
  const what = "is there with another claim or purpose";
  return refused(
    "exists",
    `allocation_id: ${holdName(known)} of node ${known.claim.nodeId} ${what}`,
  );
}

function requestsProblem(requests: readonly TakeRequest[]): string | undefined {
  const seen = new Set<string>();
  for (const { allocationId } of requests) {
    const problem = idProblem("allocation_id", allocationId);
    if (problem !== undefined) return problem;
    if (seen.has(allocationId)) return `allocation_id: ${allocationId} is asked for twice`;
    seen.add(allocationId);
  }
  return undefined;
}

function normalRequest({ allocationId, claim, purpose, lease }: TakeRequest): TakeRequest {
  const { blockId, instanceId, operationId } = purpose;
  return {
    allocationId,
    claim: normalClaim(claim),
    purpose: { blockId, instanceId, operationId },
    lease: lease && { ...lease },
  };
}
