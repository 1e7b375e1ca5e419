import type { KeptDocuments } from "../../org/store/kept-documents.ts";
import type { GroupedCollection } from "../../org/store/mirrored-state.ts";
import type { Plan } from "../../org/store/org-transactions.ts";
import type { ReplicaPlace } from "./replica-place.ts";
import type { BusText } from "./scale-messages.ts";
import { isOpen, type ScaleRequest } from "./scale-request.ts";

/** What is known of a quota that was scaled. JSON as stored. */
export interface ScaledQuota {
  /** Generation of its newest request. */
  readonly generation: number;
  /** Replicas that are charged: the most that there are or may come to be. */
  readonly charged: number;
  /** Replicas that were confirmed last; absent before the first. */
  readonly confirmed?: number;
  /** Places of its replicas, the oldest first, where a policy places them. */
  readonly places?: readonly ReplicaPlace[];
  /** The request whose response tells of them. */
  readonly toldIn?: string;
}

/** What {@link ScaleBook} is kept in. */
export interface ScaleDocuments {
  /** In groups by {@link openQuotaOf}. */
  readonly requests: KeptDocuments<ScaleRequest>;
  readonly quotas: KeptDocuments<ScaledQuota>;
  readonly outbox: KeptDocuments<BusText>;
}

/** The quota of a request of which something is still to come: what {@link ScaleBook.open} finds requests by. */
export function openQuotaOf(request: ScaleRequest): string | undefined {
  return isOpen(request) ? request.quotaId : undefined;
}

/** Of requests the open ones are mirrored, those of a quota together: one comes and goes in milliseconds. */
export const MIRRORED_REQUESTS: GroupedCollection = {
  collection: "scale_requests",
  groupOf: (body) => {
    const { quotaId, state } = body as ScaleRequest;
    return { group: quotaId, isKept: isOpen({ state }) };
  },
};

/** Requests that are over and that are remembered; the oldest go first. */
const MAX_OVER = 10_000;
/** Of those that are too many so many go at a time. */
const PRUNED_AT_ONCE = 500;

/** The durable requests to scale of an org, what is known of each scaled quota, and messages that are to be sent. */
export class ScaleBook {
  readonly #documents: ScaleDocuments;
  /** Number of the newest message of the outbox, of which its id is made. */
  #messages = 0;

  constructor(documents: ScaleDocuments) {
    this.#documents = documents;
  }

  /** Takes what the store has. */
  async reload(): Promise<void> {
    const { requests, quotas, outbox } = this.#documents;
    for (const documents of [requests, quotas, outbox]) await documents.reload();
    const newest = [...outbox.allPlanned()].reduce((most, [id]) => Math.max(most, Number(id)), 0);
    this.#messages = Math.max(this.#messages, newest);
  }

  /** One request as the store has it. */
  get(uuid: string): ScaleRequest | undefined {
    return this.#documents.requests.get(uuid)?.body;
  }

  /** As it will be when everything is written. */
  planned(uuid: string): ScaleRequest | undefined {
    return this.#documents.requests.planned(uuid)?.body;
  }

  /** All requests, the newest first. */
  all(): readonly ScaleRequest[] {
    return this.#documents.requests
      .all()
      .map(([, { body }]) => body)
      .toReversed();
  }

  /** Requests of which something is still to come, the oldest first, as they will be when everything is written. */
  open(quotaId?: string): readonly ScaleRequest[] {
    const found = this.#documents.requests.plannedOfGroup(quotaId).map(({ body }) => body);
    return found.sort((one, other) => one.generation - other.generation);
  }

  /** What is known of a quota, as it will be when everything is written. */
  quota(quotaId: string): ScaledQuota {
    return this.#documents.quotas.planned(quotaId)?.body ?? { generation: 0, charged: 0 };
  }

  /** The quotas with places, as they will be when everything is written. */
  placed(): readonly (readonly [quotaId: string, places: readonly ReplicaPlace[]])[] {
    return [...this.#documents.quotas.allPlanned()].flatMap(([quotaId, { body }]) => {
      const { places = [] } = body;
      return places.length === 0 ? [] : [[quotaId, places] as const];
    });
  }

  /** Messages that are to be sent, in their order. */
  outbox(): readonly (readonly [id: string, message: BusText])[] {
    return this.#documents.outbox.all().map(([id, { body }]) => [id, body] as const);
  }

  /** Writes a request, new or in place of the one of its uuid. */
  put(plan: Plan, request: ScaleRequest): void {
    this.#documents.requests.put(plan, request.uuid, request);
  }

  /** Writes what is known of a quota. */
  putQuota(plan: Plan, quotaId: string, scaled: ScaledQuota): void {
    this.#documents.quotas.put(plan, quotaId, scaled);
  }

  /** Has a message sent when the transaction is durable. */
  send(plan: Plan, message: BusText): void {
    this.#messages += 1;
    this.#documents.outbox.put(plan, String(this.#messages).padStart(15, "0"), message);
  }

  /** A message was sent. */
  sent(plan: Plan, id: string): void {
    this.#documents.outbox.remove(plan, id);
  }

  /** Calls back when a message may have come to the outbox. */
  onOutbox(listener: () => void): () => void {
    return this.#documents.outbox.onChange(listener);
  }

  /** Forgets the oldest of those that are over, when they are too many. */
  prune(plan: Plan): void {
    const { requests } = this.#documents;
    if (requests.size <= MAX_OVER + PRUNED_AT_ONCE) return;
    const over = requests.all().filter(([, { body }]) => !isOpen(body));
    for (const [uuid] of over.slice(0, Math.max(0, over.length - MAX_OVER))) {
      requests.remove(plan, uuid);
    }
  }
}
