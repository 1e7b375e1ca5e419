import type { Clock } from "@berth/service-kit";
import type { OrgBooks } from "../../org/org-books.ts";
import type { Plan } from "../../org/store/org-transactions.ts";
import type { AcceptedChange } from "../guards/change-spans.ts";
import type { Applied } from "./applier.ts";
import { ReplicaCharges } from "./replica-charges.ts";
import { keepToldPlaces, removePlaces } from "./replica-places.ts";
import type { ScaleBook } from "./scale-book.ts";
import type { ScaleListeners } from "./scale-listeners.ts";
import {
  allocationMessage,
  type BusText,
  type Confirmation,
  confirmationMessage,
} from "./scale-messages.ts";
import { completionOf, isOpen, type ScaleRequest, type ScaleResponse } from "./scale-request.ts";

/** A confirmation that was sent is sent again after so long, ms. */
const REMIND_AFTER_MS = 15_000;

/** What {@link Fulfilment} works with. */
export interface FulfilmentDeps {
  readonly orgId: string;
  readonly books: OrgBooks;
  readonly scale: ScaleBook;
  readonly listeners: ScaleListeners;
  readonly clock: Clock;
  /** An allocator of the org's own applies requests: what it confirms is the only word of them. */
  readonly isExternal: boolean;
  /** Writes down how the desired replicas of a quota went with a request that is over, in its transaction. */
  readonly onChanged?: (plan: Plan, request: ScaleRequest, change: AcceptedChange) => void;
}

/** What came of a confirmation. */
export type Completed =
  | { readonly kind: "completed"; readonly request: ScaleRequest }
  /** Nothing has changed. */
  | {
      readonly kind: "ignored";
      readonly why: "unknown" | "over" | "not dispatched" | "not applied";
    };

/** What becomes of requests that are to be applied: each is sent, applied and confirmed, and only a confirmation completes it. */
export class Fulfilment {
  readonly #deps: FulfilmentDeps;
  readonly #charges: ReplicaCharges;

  constructor(deps: FulfilmentDeps) {
    this.#deps = deps;
    this.#charges = new ReplicaCharges(deps);
  }

  /**
   * A request is about to be sent; durable when it resolves, with the order that is sent. Undefined when it is not to be sent any
   * more.
   */
  dispatch(uuid: string, order?: ScaleRequest["order"]): Promise<ScaleRequest | undefined> {
    const { books, scale, clock } = this.#deps;
    return books.transactions.run((plan) => {
      const before = scale.planned(uuid);
      if (before === undefined || (before.state !== "pending" && before.state !== "dispatched")) {
        return undefined;
      }
      const known = before.order ?? order;
      const isSame = before.state === "dispatched" && known === before.order;
      if (isSame) return before;
      const after: ScaleRequest = {
        ...before,
        state: "dispatched",
        ...(known === undefined ? {} : { order: known }),
        updatedAt: clock.timestamp(),
      };
      scale.put(plan, after);
      return after;
    });
  }

  /** Writes an applier's confirmation down and to the outbox, and which places go with it; false when it is not wanted any more. */
  confirm(uuid: string, message: BusText, applied: Applied): Promise<boolean> {
    const { books, scale } = this.#deps;
    const { response, isUntouched, gone } = applied;
    return books.transactions.run((plan) => {
      const request = scale.planned(uuid);
      if (request?.state !== "dispatched") return false;
      const untouched = isUntouched ? { isUntouched } : {};
      scale.put(plan, { ...request, ...untouched, answer: response });
      if (gone !== undefined) removePlaces(plan, scale, { quotaId: request.quotaId, ids: gone });
      scale.send(plan, message);
      return true;
    });
  }

  /**
   * Sends the confirmations again of requests that Berth has confirmed for a while and that are not over, when nothing else is to be sent: the bus
   * has lost what it had taken.
   */
  async remind(): Promise<void> {
    const { orgId, books, scale, clock } = this.#deps;
    const beforeMs = Date.parse(clock.timestamp()) - REMIND_AFTER_MS;
    const due = scale
      .open()
      .filter(({ answer, updatedAt }) => answer !== undefined && Date.parse(updatedAt) < beforeMs);
    if (due.length === 0 || scale.outbox().length > 0) return;
    await books.transactions.run((plan) => {
      for (const { uuid } of due) {
        const { state, answer } = scale.planned(uuid) ?? {};
        if (state !== "dispatched" || answer === undefined) continue;
        scale.send(plan, confirmationMessage(orgId, uuid, answer));
      }
    });
  }

  /**
   * Completes a request as a confirmation says: its state, the replicas and the charge of its quota, and what its subject is told, all
   * or none; durable when it resolves. Of what Berth applied itself its own word counts, whatever the message says: others may write to the
   * bus, too. Only the listener of the bus calls it.
   */
  async complete({ uuid, response: told, message }: Confirmation): Promise<Completed> {
    const { orgId, books, scale, clock, onChanged } = this.#deps;
    let heard = message;
    const completed = await books.transactions.run((plan): Completed => {
      const found = scale.planned(uuid);
      if (found === undefined) return { kind: "ignored", why: "unknown" };
      if (!isOpen(found)) return { kind: "ignored", why: "over" };
      if (found.state !== "dispatched") return { kind: "ignored", why: "not dispatched" };
      const { answer, ...before } = found;
      const response = this.#credible(found, told);
      if (response === undefined) return { kind: "ignored", why: "not applied" };
      if (answer !== undefined) heard = { uuid, response };
      const { state, replicas } = completionOf(before, response);
      const request = { ...before, state, response, updatedAt: clock.timestamp() };
      const from = this.#desired(request);
      this.#charges.settle(plan, request, replicas);
      const to = this.#desired(request);
      const atMs = Date.parse(request.updatedAt);
      if (from !== undefined && to !== undefined) onChanged?.(plan, request, { atMs, from, to });
      scale.put(plan, request);
      if (answer?.places !== undefined) keepToldPlaces(plan, scale, request);
      scale.send(plan, allocationMessage(orgId, request));
      scale.prune(plan);
      return { kind: "completed", request };
    });
    if (completed.kind === "completed") this.#deps.listeners.over(completed.request, heard);
    return completed;
  }

  /** Replicas that are desired now of a request's quota; undefined when it is gone. */
  #desired({ quotaId }: ScaleRequest): number | undefined {
    const { quotas } = this.#deps.books;
    return quotas.tree.has(quotaId) ? quotas.planned(quotaId).quota.replicas : undefined;
  }

  /**
   * What counts of a confirmation: Berth's own word of what it applied, undefined before that; of an allocator what can be, as more replicas
   * than there were or were asked for are not taken for what there is.
   */
  #credible(request: ScaleRequest, told: ScaleResponse): ScaleResponse | undefined {
    const { answer, quotaId, before, replicas: wanted } = request;
    if (!this.#deps.isExternal) return answer;
    const response = answer ?? told;
    const { replicas = 0 } = response;
    const most = Math.max(this.#deps.scale.quota(quotaId).charged, before, wanted);
    if (replicas <= most) return response;
    const message = `${replicas} replicas were confirmed, expected at most ${most}`;
    return { status: "failed", message };
  }
}
