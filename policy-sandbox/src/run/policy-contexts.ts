import {
  type ApplyOutcome,
  type DocumentKey,
  type DocumentStore,
  type Logger,
  type Part,
  Serial,
  type Write,
} from "@berth/service-kit";

const COLLECTION = "policy_contexts";
const FLUSH_INTERVAL_MS = 200;
/** Contexts that are kept in memory, and their characters together; those that wait to be written stay. */
const MAX_HELD = 1_000;
const MAX_HELD_CHARACTERS = 64 * 1024 * 1024;

interface Held {
  readonly key: DocumentKey;
  readonly json: string;
  /** Whether the store has a document of it; undefined when nobody has looked. */
  readonly isStored: boolean | undefined;
  readonly isDirty: boolean;
}

/** What {@link PolicyContexts} needs. */
export interface PolicyContextsDeps {
  readonly store: Pick<DocumentStore, "get" | "apply">;
  readonly logger: Logger;
  /** Contexts that are kept in memory; 1,000 when absent. */
  readonly maxHeld?: number;
}

/**
 * The `context` of each policy: JSON that a policy changes in one evaluation and finds in the next, also
 * in another worker and after a restart. Written in groups, up to 200 ms late, off the decision's path. What
 * was set is what the next `get` gives, at once.
 */
export class PolicyContexts implements Part {
  readonly name = "policy contexts";
  readonly #deps: PolicyContextsDeps;
  /** The least recently used come first. */
  readonly #held = new Map<string, Held>();
  #heldCharacters = 0;
  #timer: NodeJS.Timeout | undefined;
  /** What is written to the store, one after the other. */
  readonly #writing = new Serial();
  #removals = 0;

  constructor(deps: PolicyContextsDeps) {
    this.#deps = deps;
  }

  async start(): Promise<void> {
    this.#timer = setInterval(() => void this.flush(), FLUSH_INTERVAL_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }

  /** The context of a policy as JSON text; "{}" at first. */
  async get(orgId: string, uri: string): Promise<string> {
    const name = nameOf(orgId, uri);
    const known = this.#held.get(name);
    if (known !== undefined) {
      this.#hold(name, known);
      return known.json;
    }
    const key = keyOf(orgId, uri);
    const removals = this.#removals;
    const stored = await this.#deps.store.get<string>(key);
    // What was read before a removal may be what was removed.
    if (removals !== this.#removals) return this.get(orgId, uri);
    const raced = this.#held.get(name);
    if (raced !== undefined) return raced.json;
    const json = stored?.body ?? "{}";
    this.#hold(name, { key, json, isStored: stored !== undefined, isDirty: false });
    return json;
  }

  /** Keeps a changed context, whether it is in memory or not. It is written soon. */
  set(orgId: string, uri: string, json: string): void {
    const name = nameOf(orgId, uri);
    const isStored = this.#held.get(name)?.isStored;
    this.#hold(name, { key: keyOf(orgId, uri), json, isStored, isDirty: true });
  }

  /** Writes what has changed. A failure is logged and tried again with the next flush. */
  flush(): Promise<void> {
    return this.#writing.run(() => this.#write());
  }

  /**
   * Removes the context of a policy in the transaction that `apply` makes, which gets the write for it: a deletion
   * that does not hold when the store has no context. When it was applied, the context is forgotten in memory,
   * too.
   */
  removeWith(
    orgId: string,
    uri: string,
    apply: (removal: Write) => Promise<ApplyOutcome>,
  ): Promise<ApplyOutcome> {
    return this.#writing.run(async () => {
      const outcome = await apply({ kind: "delete", key: keyOf(orgId, uri) });
      if (outcome.kind === "refused") return outcome;
      this.#removals += 1;
      this.#forget(nameOf(orgId, uri));
      return outcome;
    });
  }

  /** Takes a context in as the one that was used last. */
  #hold(name: string, held: Held): void {
    this.#forget(name);
    this.#held.set(name, held);
    this.#heldCharacters += held.json.length;
    const maxHeld = this.#deps.maxHeld ?? MAX_HELD;
    for (const [oldest, { isDirty }] of this.#held) {
      if (this.#held.size <= maxHeld && this.#heldCharacters <= MAX_HELD_CHARACTERS) return;
      if (!isDirty && oldest !== name) this.#forget(oldest);
    }
  }

  #forget(name: string): void {
    this.#heldCharacters -= this.#held.get(name)?.json.length ?? 0;
    this.#held.delete(name);
  }

  async #write(): Promise<void> {
    const dirty = [...this.#held].filter(([, { isDirty }]) => isDirty);
    if (dirty.length === 0) return;
    try {
      const writes = await Promise.all(dirty.map(([, held]) => this.#toWrite(held)));
      const outcome = await this.#deps.store.apply(writes);
      if (outcome.kind === "refused") throw new Error(`${outcome.key.id} ${outcome.why}`);
    } catch (err) {
      this.#deps.logger.error("policy contexts could not be written", { err });
      return;
    }
    for (const [name, written] of dirty) {
      const held = this.#held.get(name);
      // What was set while this was written is still to be written.
      if (held !== undefined) {
        this.#held.set(name, { ...held, isStored: true, isDirty: held !== written });
      }
    }
  }

  async #toWrite({ key, json, isStored }: Held): Promise<Write> {
    const replaces = isStored ?? (await this.#deps.store.get(key)) !== undefined;
    return { kind: replaces ? "replace" : "insert", key, body: json };
  }
}

function nameOf(orgId: string, uri: string): string {
  return JSON.stringify([orgId, uri]);
}

function keyOf(orgId: string, uri: string): DocumentKey {
  return { orgId, collection: COLLECTION, id: uri };
}
