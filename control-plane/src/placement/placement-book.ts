import { allPages, BerthError, type DocumentStore, type Write } from "@berth/service-kit";
import { AgentBindings } from "../fleet/agent-bindings.ts";
import type { Step } from "../org/store/org-transactions.ts";
import { isOver, type PlacementRecord } from "./placement-record.ts";

const COLLECTION = "placements";
/** Placements of an org that are over and remembered; the oldest are forgotten first. */
const MAX_REMEMBERED = 2_000;
/** Time for which a placement that is over is remembered, ms: 7 days. */
const REMEMBERED_FOR_MS = 7 * 24 * 60 * 60 * 1_000;
/** Placements that are forgotten in one transaction. */
const PAGE = 200;

/** Opens the placements that the store knows. */
export async function openPlacementBook(
  store: DocumentStore,
  orgId: string,
): Promise<PlacementBook> {
  const holders = await new AgentBindings(store, orgId).holders();
  const book = new PlacementBook(store, orgId, new Set(holders.keys()));
  await book.load();
  return book;
}

/** The durable records of an org's placements; read from memory, a write is durable when it resolves. */
export class PlacementBook {
  /** Clusters that had an agent when this was opened, whether they are back or not. */
  readonly knownClusters: ReadonlySet<string>;
  readonly #store: DocumentStore;
  readonly #orgId: string;
  /** Oldest first: ids begin with their time. */
  readonly #records = new Map<string, PlacementRecord>();
  readonly #byKey = new Map<string, string>();

  constructor(store: DocumentStore, orgId: string, knownClusters: ReadonlySet<string>) {
    this.#store = store;
    this.#orgId = orgId;
    this.knownClusters = knownClusters;
  }

  /** Reads what is there; called once. */
  async load(): Promise<void> {
    const collection = { orgId: this.#orgId, collection: COLLECTION };
    for await (const { body } of allPages<PlacementRecord>(this.#store, collection)) {
      this.#keep(body);
    }
  }

  /** One placement; undefined when there is none. */
  get(id: string): PlacementRecord | undefined {
    return this.#records.get(id);
  }

  /** The placement that a client named so; undefined when there is none. */
  withKey(idempotencyKey: string): PlacementRecord | undefined {
    const id = this.#byKey.get(idempotencyKey);
    return id === undefined ? undefined : this.get(id);
  }

  /** The placement of a block that is not over; undefined when there is none. */
  openOf(blockId: string): PlacementRecord | undefined {
    return this.open().find((record) => record.blockId === blockId);
  }

  /** Those that are not over, oldest first. */
  open(): readonly PlacementRecord[] {
    return [...this.#records.values()].filter((record) => !isOver(record));
  }

  /** All that are remembered, the newest first. */
  list(): readonly PlacementRecord[] {
    return [...this.#records.values()].reverse();
  }

  /** The step of a transaction that writes a new placement down. */
  insertion(record: PlacementRecord): Step {
    return {
      write: { kind: "insert", key: this.#key(record.id), body: record },
      commit: () => this.#keep(record),
      undo: () => {},
    };
  }

  /** Writes down how far a placement has come. */
  async replace(record: PlacementRecord): Promise<void> {
    await this.#write({ kind: "replace", key: this.#key(record.id), body: record });
    this.#records.set(record.id, record);
  }

  /** Forgets placements that have been over for long, or that are too many. */
  async prune(nowMs: number): Promise<void> {
    const over = [...this.#records.values()].filter(isOver);
    const tooMany = over.length - MAX_REMEMBERED;
    const isGone = ({ updatedAt }: PlacementRecord, place: number) =>
      place < tooMany || nowMs - Date.parse(updatedAt) > REMEMBERED_FOR_MS;
    const gone = over.filter(isGone);
    for (let from = 0; from < gone.length; from += PAGE) {
      const page = gone.slice(from, from + PAGE);
      const writes = page.map(({ id }): Write => ({ kind: "delete", key: this.#key(id) }));
      const outcome = await this.#store.apply(writes);
      if (outcome.kind === "refused" && outcome.why !== "missing") return;
      for (const { id, idempotencyKey } of page) {
        this.#records.delete(id);
        if (idempotencyKey !== undefined) this.#byKey.delete(idempotencyKey);
      }
    }
  }

  #keep(record: PlacementRecord): void {
    this.#records.set(record.id, record);
    if (record.idempotencyKey !== undefined) this.#byKey.set(record.idempotencyKey, record.id);
  }

  async #write(write: Write): Promise<void> {
    const outcome = await this.#store.apply([write]);
    if (outcome.kind === "applied") return;
    throw new BerthError("INTERNAL", `placement ${write.key.id} was not written: ${outcome.why}`);
  }

  #key(id: string) {
    return { orgId: this.#orgId, collection: COLLECTION, id };
  }
}
