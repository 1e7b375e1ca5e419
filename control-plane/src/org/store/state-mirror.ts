import { randomUUID } from "node:crypto";
import {
  allPages,
  BerthError,
  type DocumentStore,
  isBerthError,
  type Logger,
  type Mirror,
  type MirrorCopies,
  type MirrorEntry,
  type MirrorStatus,
  type Part,
  type Write,
} from "@berth/service-kit";
import { copiesAtStart } from "./copies-at-start.ts";
import {
  comparing,
  type GroupedCollection,
  includes,
  isMirrored,
  mirroredCollections,
  mirrorKey,
  nextMark,
  readMark,
  STATE_KEY,
  type StateMark,
  type StoredState,
  takingWrites,
} from "./mirrored-state.ts";

/** What a {@link StateMirror} works with. */
export interface StateMirrorDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly mirror: Mirror;
  readonly grouped: readonly GroupedCollection[];
  readonly logger: Logger;
}

/** What goes with a transaction, and is mirrored once it is durable. */
export interface Stamp {
  readonly write: Write;
  /** The transaction is durable. */
  readonly written: (writes: readonly Write[]) => void;
}

const COLLECTION = "org_state";
const ID = "mirror";
/** Writes of one transaction when a state is taken. */
const PAGE = 200;
/** Entries that are handed to the mirror at a time when all is mirrored anew. */
const PORTION = 1_000;
const PORTION_MS = 10_000;
const BEHIND_EVERY_MS = 30_000;
const ADVICE =
  "to take it, start with an empty data directory; to give it up, delete its keys berth:<org>:*; if another control-plane uses it, set a BERTH_ORG_ID or a Redis of one's own";

/**
 * Keeps a mirror of an org's configuration and of what is under way: each transaction raises a number that is durable with it, and what it
 * wrote is mirrored under that number. The store is the truth; the mirror is taken at a start when the store is empty, or is an older one
 * of the same lineage.
 */
export class StateMirror implements Part {
  readonly name = "mirror";
  readonly #deps: StateMirrorDeps;
  readonly #stop = new AbortController();
  #mark: StateMark | undefined;
  /** What is shared could not be read at the start, and nothing was written since: it may be ahead of the store. */
  #isUnseen = false;
  /** Mirrored documents of grouped collections, by key and id. */
  readonly #groups = new Map<string, Map<string, unknown>>();
  /** Something was not handed to the mirror: all is to be mirrored anew. */
  #isBehind = true;
  /** The same, since all began to be mirrored anew. */
  #isMissed = false;
  #syncing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: StateMirrorDeps) {
    this.#deps = deps;
  }

  /** How the mirror stands, for people. */
  get status(): MirrorStatus {
    const { status } = this.#deps.mirror;
    return this.#isBehind && status.why === undefined ? { ...status, why: "it is behind" } : status;
  }

  /** Brings store and mirror together; called once, before anything else reads the store. Rejects when the store fails. */
  async open(): Promise<void> {
    const { mirror, logger } = this.#deps;
    const { stored, isEmpty } = await this.#stored();
    await this.reload();
    let found: MirrorCopies;
    try {
      found = await copiesAtStart(mirror, isEmpty, logger);
    } catch (err) {
      this.#isUnseen = true;
      logger.warn("the mirror cannot be read: what the store has counts", { err });
      return;
    }
    this.#isUnseen = !found.isWhole;
    const { compared, entries } = comparing(this.#mark, isEmpty, found.copies);
    if (compared.kind === "store" && this.#mark === undefined && !isEmpty) {
      await this.#writeMark({ seq: 1, lineage: randomUUID() });
    }
    if (compared.kind === "stranger") {
      const { lineage, seq } = compared;
      const own = this.#mark ?? { seq: 0, lineage: randomUUID() };
      await this.#writeMark({ ...own, seq: Math.max(own.seq, seq) + 1 });
      logger.warn("the mirror is of another store: what the store has counts", {
        lineage,
        advice: ADVICE,
      });
    }
    if (compared.kind !== "mirror") return;
    const { mark, above } = compared;
    const newer = entries.filter(({ revision }) => revision > above);
    // What is cut off by a kill goes on at the next start.
    await this.#writeMark({ ...mark, seq: above });
    await this.#take(takingWrites(newer, stored, this.#deps.orgId));
    await this.#writeMark(mark);
    await this.reload();
    logger.warn("the mirror was newer than the store: its state was taken", {
      entries: newer.length,
    });
  }

  async start(): Promise<void> {
    this.#deps.mirror.guard({ key: STATE_KEY, refusal: (entry) => this.#refusal(entry) });
    this.#sync();
    this.#timer = setInterval(() => {
      if (this.#isBehind) this.#sync();
    }, BEHIND_EVERY_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort();
    await this.#syncing;
    await this.#deps.mirror.close();
  }

  /** Takes what the store has. */
  async reload(): Promise<void> {
    const { store, orgId } = this.#deps;
    const kept = await store.get<StateMark>({ orgId, collection: COLLECTION, id: ID });
    this.#mark = kept?.body;
    this.#isBehind = true;
    this.#isMissed = true;
    this.#groups.clear();
    for (const { collection, groupOf } of this.#deps.grouped) {
      for await (const { id, body } of allPages<unknown>(store, { orgId, collection })) {
        const { group, isKept } = groupOf(body);
        if (!isKept) continue;
        const key = mirrorKey(collection, group);
        this.#groups.getOrInsertComputed(key, () => new Map()).set(id, body);
      }
    }
  }

  /** What is to be written with the next transaction. One transaction at a time. */
  stamp(): Stamp {
    const { orgId } = this.#deps;
    const before = this.#mark;
    const mark = nextMark(before, this.#isUnseen);
    const key = { orgId, collection: COLLECTION, id: ID };
    const kind = before === undefined ? "insert" : "replace";
    return {
      write: { kind, key, body: mark },
      written: (writes) => {
        this.#mark = mark;
        this.#isUnseen = false;
        this.#mirror(writes, mark);
      },
    };
  }

  #mirror(writes: readonly Write[], mark: StateMark): void {
    const entries = new Map<string, MirrorEntry>();
    for (const write of writes) {
      const { collection, id } = write.key;
      if (!isMirrored(collection, id, this.#deps.grouped)) continue;
      const body = write.kind === "delete" ? undefined : write.body;
      const entry = this.#entry({ collection, id, body }, mark.seq);
      if (entry !== undefined) entries.set(entry.key, entry);
    }
    this.#put([...entries.values()], mark);
  }

  /** The mirror's entry of a document as it is now; undefined when the mirror has none of it. */
  #entry({ collection, id, body }: StoredState, revision: number): MirrorEntry | undefined {
    const grouped = this.#deps.grouped.find((one) => one.collection === collection);
    if (grouped === undefined) {
      const told = body === undefined ? undefined : { id, body };
      return { key: mirrorKey(collection, id), revision, body: told };
    }
    // What is removed of a group was not mirrored any more.
    if (body === undefined) return undefined;
    const { group, isKept } = grouped.groupOf(body);
    const key = mirrorKey(collection, group);
    const members = this.#groups.getOrInsertComputed(key, () => new Map());
    if (isKept) members.set(id, body);
    else if (!members.delete(id)) return undefined;
    const told = [...members].map(([member, its]) => ({ id: member, body: its }));
    if (told.length > 0) return { key, revision, body: told };
    this.#groups.delete(key);
    return { key, revision, body: undefined };
  }

  /** What the mirror does not take leaves it behind, until all is mirrored anew. */
  #put(entries: readonly MirrorEntry[], mark: StateMark): void {
    try {
      for (const entry of entries) this.#deps.mirror.put(entry);
      this.#deps.mirror.put({ key: STATE_KEY, revision: mark.seq, body: mark });
    } catch (err) {
      if (!this.#isBehind) this.#deps.logger.warn("the mirror is behind", { err });
      this.#isBehind = true;
      this.#isMissed = true;
    }
  }

  /** What another store has left in what is shared may be the only copy. */
  #refusal(entry: MirrorEntry | undefined): string | undefined {
    const state = readMark(entry?.body);
    const isOurs = this.#mark !== undefined && state !== undefined && includes(this.#mark, state);
    if (state === undefined || isOurs) return undefined;
    if (this.#mark !== undefined && includes(state, this.#mark)) {
      return "it is ahead of the store: start again to take what it has";
    }
    return `it has the state of another store, ${state.lineage}: ${ADVICE}`;
  }

  #sync(): void {
    this.#syncing ??= this.#syncAll()
      .catch((err: unknown) => {
        const isStopped = this.#stop.signal.aborted;
        const isFull = isBerthError(err) && err.reason === "OVERLOADED";
        if (!isStopped && !isFull) this.#deps.logger.warn("the mirror is behind", { err });
      })
      .finally(() => {
        this.#syncing = undefined;
      });
  }

  /** Hands all to the mirror that the store has, under the present number; a newer write of a key counts more. */
  async #syncAll(): Promise<void> {
    const { mirror } = this.#deps;
    const mark = this.#mark;
    this.#isMissed = false;
    if (mark !== undefined) {
      const { stored } = await this.#stored();
      const known = await mirror.read("");
      const entries = this.#entriesOf(stored, mark.seq);
      // What is removed in the local file may not be so in what is shared.
      const gone = known.filter(({ key }) => key !== STATE_KEY && !stored.has(key));
      const since = ({ body, revision }: MirrorEntry) => (body === undefined ? revision : mark.seq);
      entries.push(
        ...gone.map((entry) => ({ key: entry.key, revision: since(entry), body: undefined })),
      );
      for (let from = 0; from < entries.length; from += PORTION) {
        for (const entry of entries.slice(from, from + PORTION)) mirror.put(entry);
        const limits = [this.#stop.signal, AbortSignal.timeout(PORTION_MS)];
        await mirror.settled(AbortSignal.any(limits));
        this.#stop.signal.throwIfAborted();
      }
      mirror.put({ key: STATE_KEY, revision: mark.seq, body: mark });
    }
    this.#isBehind = this.#isMissed;
  }

  #entriesOf(stored: ReadonlyMap<string, readonly StoredState[]>, revision: number): MirrorEntry[] {
    return [...stored].map(([key, documents]) => {
      const [first] = documents;
      const isGrouped = this.#deps.grouped.some(
        ({ collection }) => collection === first?.collection,
      );
      const told = documents.map(({ id, body }) => ({ id, body }));
      return { key, revision, body: isGrouped ? told : told[0] };
    });
  }

  /** What is to be mirrored of the store, by the mirror's keys. */
  async #stored() {
    const { store, orgId, grouped } = this.#deps;
    const stored = new Map<string, StoredState[]>();
    let isEmpty = true;
    for (const collection of mirroredCollections(grouped)) {
      const own = grouped.find((one) => one.collection === collection);
      for await (const { id, body } of allPages<unknown>(store, { orgId, collection })) {
        isEmpty = false;
        if (!isMirrored(collection, id, grouped)) continue;
        const told = own?.groupOf(body);
        if (told?.isKept === false) continue;
        stored
          .getOrInsert(mirrorKey(collection, told?.group ?? id), [])
          .push({ collection, id, body });
      }
    }
    return { stored, isEmpty };
  }

  async #take(writes: readonly Write[]): Promise<void> {
    for (let from = 0; from < writes.length; from += PAGE) {
      await this.#apply(writes.slice(from, from + PAGE));
    }
  }

  async #writeMark(mark: StateMark): Promise<void> {
    const key = { orgId: this.#deps.orgId, collection: COLLECTION, id: ID };
    await this.#apply([{ kind: this.#mark === undefined ? "insert" : "replace", key, body: mark }]);
    this.#mark = mark;
  }

  async #apply(writes: readonly Write[]): Promise<void> {
    const outcome = await this.#deps.store.apply(writes);
    if (outcome.kind === "applied") return;
    const { key, why } = outcome;
    throw new BerthError(
      "INTERNAL",
      `${key.collection}/${key.id} was not taken from the mirror: ${why}`,
    );
  }
}
