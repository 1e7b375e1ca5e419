import { BerthError, type Clock, type DocumentStore, Serial, type Write } from "@berth/service-kit";
import { type BlockEntry, parseBlockEntry } from "./block-entry.ts";
import {
  type BlockPhase,
  type BlockRecord,
  type BookCollection,
  type BookContents,
  blockBodyOf,
  blockRecord,
  type CreateOutcome,
  type InstanceRecord,
  instanceKey,
  instanceProblem,
  isSame,
} from "./block-records.ts";
import {
  BOOK_LIMITS,
  type BookAmounts,
  BookSize,
  growth,
  sizeOfBlock,
  sizeOfInstance,
} from "./book-size.ts";
import { type EntryCheck, updatedRecord } from "./updated-record.ts";

/** Longest message of a phase; a longer one is cut. */
const MAX_MESSAGE_CHARACTERS = 2_000;

/** What a {@link BlockBook} is kept with. */
export interface BlockBookDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly clock: Clock;
  /** {@link BOOK_LIMITS} by default. */
  readonly limits?: BookAmounts;
}

/**
 * The durable records of a cluster's blocks and of their instances. They are read from memory; a write is durable
 * when it resolves, comes after those of its block before it, and may be repeated: it comes to the same end. Writes
 * reject with UNAVAILABLE when the store fails, and then have changed nothing.
 */
export class BlockBook {
  readonly #deps: BlockBookDeps;
  readonly #size: BookSize;
  readonly #blocks = new Map<string, BlockRecord>();
  /** By block, then by instance id. */
  readonly #instances = new Map<string, Map<string, InstanceRecord>>();
  readonly #unreadable: ReadonlySet<string>;
  /** Writes that wait or run, by block. */
  readonly #turns = new Map<string, { readonly serial: Serial; writes: number }>();
  readonly #listeners = new Set<() => void>();
  #sorted: readonly BlockRecord[] | undefined;
  #version = 0;

  constructor(deps: BlockBookDeps, { blocks, instances, unreadable }: BookContents) {
    this.#deps = deps;
    this.#size = new BookSize(deps.limits ?? BOOK_LIMITS);
    this.#unreadable = unreadable;
    for (const record of blocks) {
      this.#blocks.set(record.id, record);
      this.#size.count(sizeOfBlock(record));
    }
    for (const record of instances) {
      this.#keepInstance(record);
      this.#size.count(sizeOfInstance(record));
    }
  }

  /** Rises at each change. */
  get version(): number {
    return this.#version;
  }

  /** Calls back at each change; gives the function that ends that. */
  onChange(listener: () => void): () => void {
    const own = () => listener();
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** Documents of the store that are not in our shape: "blocks/<id>", "instances/<block>/<instance>". */
  unreadable(): readonly string[] {
    return [...this.#unreadable];
  }

  /** All blocks in the order of their ids. */
  blocks(): readonly BlockRecord[] {
    this.#sorted ??= [...this.#blocks.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    return this.#sorted;
  }

  /** One block, undefined when there is none. */
  block(id: string): BlockRecord | undefined {
    return this.#blocks.get(id);
  }

  /** The instances of a block, or of all, in the order of their ids. */
  instances(blockId?: string): readonly InstanceRecord[] {
    if (blockId === undefined) {
      return [...this.#instances.keys()].sort().flatMap((id) => this.instances(id));
    }
    const found = [...(this.#instances.get(blockId)?.values() ?? [])];
    return found.sort((a, b) => (a.instanceId < b.instanceId ? -1 : 1));
  }

  /** One instance, undefined when there is none. */
  instance(blockId: string, instanceId: string): InstanceRecord | undefined {
    return this.#instances.get(blockId)?.get(instanceId);
  }

  /**
   * Writes a new block down, in the phase "creating". INVALID_ARGUMENT when the entry does not hold
   * (`parseBlockEntry`), OVERLOADED when there are too many, CONFLICT when what the store has of it cannot be read.
   */
  async create(
    entry: BlockEntry,
    { operationId }: { readonly operationId: string },
  ): Promise<CreateOutcome> {
    const now = this.#deps.clock.timestamp();
    const times = { createdAt: now, updatedAt: now };
    const record = blockRecord(parseBlockEntry(entry), {
      ...times,
      operationId,
      phase: "creating",
    });
    return this.#inTurn(record.id, async () => {
      const known = this.#blocks.get(record.id);
      if (known !== undefined) {
        return { kind: known.operationId === operationId ? "created" : "exists", record: known };
      }
      this.#refuseUnreadable("blocks", record.id);
      const insert: Write = { ...this.#blockWrite(record), kind: "insert" };
      await this.#write([insert], sizeOfBlock(record));
      this.#keepBlock(record);
      return { kind: "created", record };
    });
  }

  /**
   * Applies a client's update (plain fields or `$set $unset $inc $push $pull`) to an entry, whose numbers stay as they
   * were written, and checks the whole anew. INVALID_ARGUMENT names what does not hold: only `id` and what is derived
   * (`cluster`, `instances`, `status`) cannot be changed. NOT_FOUND when there is no such block. What `check` throws
   * of the entry as it would become, beside the one that is there, is thrown, and changes nothing.
   */
  update(id: string, update: unknown, check?: EntryCheck): Promise<BlockRecord> {
    return this.updateBy(id, () => update, check);
  }

  /** {@link update} by what is made of the record as all updates before have left it. */
  updateBy(
    id: string,
    updateOf: (known: BlockRecord) => unknown,
    check?: EntryCheck,
  ): Promise<BlockRecord> {
    return this.#inTurn(id, async () => {
      const known = this.#known(id);
      return this.#replace(known, updatedRecord(known, updateOf(known), check));
    });
  }

  /** Throws what {@link update} would reject with now, and changes nothing. */
  tryUpdate(id: string, update: unknown, check?: EntryCheck): void {
    updatedRecord(this.#known(id), update, check);
  }

  /** Tells how far a block has come; without a message a former one goes. NOT_FOUND when there is no such block. */
  setPhase(id: string, phase: BlockPhase, message?: string): Promise<BlockRecord> {
    return this.#inTurn(id, async () => {
      const known = this.#known(id);
      const { message: _former, ...rest } = known;
      const told =
        message === undefined ? {} : { message: message.slice(0, MAX_MESSAGE_CHARACTERS) };
      return this.#replace(known, { ...rest, ...told, phase });
    });
  }

  /** Forgets a block and its instances, all at once; nothing happens when there is none. */
  remove(id: string): Promise<void> {
    return this.#inTurn(id, async () => {
      this.#refuseUnreadable("blocks", id);
      const block = this.#blocks.get(id);
      const instances = this.instances(id);
      if (block === undefined && instances.length === 0) return;
      const keys = instances.map((record) => this.#key("instances", instanceKey(record)));
      if (block !== undefined) keys.push(this.#key("blocks", id));
      await this.#write(keys.map((key) => ({ kind: "delete", key })));
      if (block !== undefined) this.#size.giveBack(sizeOfBlock(block));
      for (const record of instances) this.#size.giveBack(sizeOfInstance(record));
      this.#blocks.delete(id);
      this.#instances.delete(id);
      this.#changed();
    });
  }

  /**
   * Writes an instance down, new or changed. INVALID_ARGUMENT names what does not hold; NOT_FOUND when its block is not
   * there, OVERLOADED when there are too many.
   */
  async putInstance(given: InstanceRecord): Promise<void> {
    const problem = instanceProblem(given);
    if (problem !== undefined) throw new BerthError("INVALID_ARGUMENT", problem);
    // A copy: what was checked is what is kept, whatever becomes of the object.
    const record = structuredClone(given);
    const { blockId, instanceId } = record;
    return this.#inTurn(blockId, async () => {
      this.#known(blockId);
      const former = this.instance(blockId, instanceId);
      if (former !== undefined && isSame(former, record)) return;
      this.#refuseUnreadable("instances", instanceKey(record));
      const kind = former === undefined ? "insert" : "replace";
      const key = this.#key("instances", instanceKey(record));
      await this.#write([{ kind, key, body: record }], growth(former, record));
      this.#keepInstance(record);
      this.#changed();
    });
  }

  /** Forgets an instance; nothing happens when there is none. */
  removeInstance(blockId: string, instanceId: string): Promise<void> {
    return this.#inTurn(blockId, async () => {
      const record = this.instance(blockId, instanceId);
      if (record === undefined) return;
      await this.#write([{ kind: "delete", key: this.#key("instances", instanceKey(record)) }]);
      this.#size.giveBack(sizeOfInstance(record));
      const others = this.#instances.get(blockId);
      others?.delete(instanceId);
      if (others?.size === 0) this.#instances.delete(blockId);
      this.#changed();
    });
  }

  async #replace(known: BlockRecord, changed: BlockRecord): Promise<BlockRecord> {
    if (isSame(blockBodyOf(known), blockBodyOf(changed))) return known;
    const record = { ...changed, updatedAt: this.#deps.clock.timestamp() };
    const more = { characters: record.json.length - known.json.length };
    await this.#write([{ ...this.#blockWrite(record), kind: "replace" }], more);
    this.#keepBlock(record);
    return record;
  }

  #known(id: string): BlockRecord {
    const record = this.#blocks.get(id);
    if (record === undefined) throw new BerthError("NOT_FOUND", `no block ${JSON.stringify(id)}`);
    return record;
  }

  #refuseUnreadable(collection: BookCollection, id: string): void {
    const name = `${collection}/${id}`;
    if (!this.#unreadable.has(name)) return;
    const message = `the store's document ${name} cannot be read, so it is left as it is; see the log of the agent's start`;
    throw new BerthError("CONFLICT", message);
  }

  #keepBlock(record: BlockRecord): void {
    this.#blocks.set(record.id, record);
    this.#changed();
  }

  #keepInstance(record: InstanceRecord): void {
    const ofBlock = this.#instances.get(record.blockId) ?? new Map<string, InstanceRecord>();
    ofBlock.set(record.instanceId, record);
    this.#instances.set(record.blockId, ofBlock);
  }

  #changed(): void {
    this.#version += 1;
    this.#sorted = undefined;
    for (const listener of [...this.#listeners]) listener();
  }

  #key(collection: BookCollection, id: string) {
    return { orgId: this.#deps.orgId, collection, id };
  }

  #blockWrite(record: BlockRecord) {
    return { key: this.#key("blocks", record.id), body: blockBodyOf(record) };
  }

  /** Makes all writes or none; what they need more is counted before, and given back when they are not made. */
  async #write(writes: readonly Write[], more: Partial<BookAmounts> = {}): Promise<void> {
    this.#size.take(more);
    try {
      const outcome = await this.#deps.store.apply(writes);
      if (outcome.kind === "applied") return;
      const { collection, id } = outcome.key;
      throw new BerthError("INTERNAL", `${collection}/${id} was not written: ${outcome.why}`);
    } catch (thrown) {
      this.#size.giveBack(more);
      throw thrown;
    }
  }

  async #inTurn<T>(blockId: string, write: () => Promise<T>): Promise<T> {
    const turn = this.#turns.get(blockId) ?? { serial: new Serial(), writes: 0 };
    this.#turns.set(blockId, turn);
    turn.writes += 1;
    try {
      return await turn.serial.run(write);
    } finally {
      turn.writes -= 1;
      if (turn.writes === 0) this.#turns.delete(blockId);
    }
  }
}
