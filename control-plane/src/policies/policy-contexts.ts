import type { DocumentStore, Logger, Part, Write } from "@berth/service-kit";

const COLLECTION = "policy_contexts";
const FLUSH_INTERVAL_MS = 200;
const MAX_HELD = 1_000;

interface Held {
  readonly orgId: string;
  readonly uri: string;
  json: string;
  isStored: boolean;
  isDirty: boolean;
}

/** What {@link PolicyContexts} needs. */
export interface PolicyContextsDeps {
  readonly store: DocumentStore;
  readonly logger: Logger;
}

/**
 * The `context` of each policy: JSON that a policy changes in one evaluation and finds in the next, also
 * in another worker and after a restart. Written in groups, up to 200 ms late, off the decision's path;
 * of evaluations that run at once the last to end wins.
 */
export class PolicyContexts implements Part {
  readonly name = "policy contexts";
  readonly #deps: PolicyContextsDeps;
  readonly #held = new Map<string, Held>();
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();

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
    return (await this.#load(orgId, uri)).json;
  }

  /** Keeps a changed context. */
  async set(orgId: string, uri: string, json: string): Promise<void> {
    const held = await this.#load(orgId, uri);
    held.json = json;
    held.isDirty = true;
  }

  /** Writes what has changed. A failure is logged and tried again with the next change. */
  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#write());
    return this.#flushing;
  }

  async #load(orgId: string, uri: string): Promise<Held> {
    const cacheKey = JSON.stringify([orgId, uri]);
    const known = this.#held.get(cacheKey);
    if (known !== undefined) return known;
    const stored = await this.#deps.store.get<string>({ orgId, collection: COLLECTION, id: uri });
    const raced = this.#held.get(cacheKey);
    if (raced !== undefined) return raced;
    const isStored = stored !== undefined;
    const held: Held = { orgId, uri, json: stored?.body ?? "{}", isStored, isDirty: false };
    this.#forgetOldest();
    this.#held.set(cacheKey, held);
    return held;
  }

  #forgetOldest(): void {
    if (this.#held.size < MAX_HELD) return;
    for (const [key, { isDirty }] of this.#held) {
      if (isDirty) continue;
      this.#held.delete(key);
      return;
    }
  }

  async #write(): Promise<void> {
    const dirty = [...this.#held.values()].filter(({ isDirty }) => isDirty);
    if (dirty.length === 0) return;
    const writes = dirty.map(({ orgId, uri, json, isStored }): Write => {
      const key = { orgId, collection: COLLECTION, id: uri };
      return { kind: isStored ? "replace" : "insert", key, body: json };
    });
    for (const held of dirty) held.isDirty = false;
    try {
      const outcome = await this.#deps.store.apply(writes);
      if (outcome.kind === "refused") throw new Error(`${outcome.key.id} ${outcome.why}`);
      for (const held of dirty) held.isStored = true;
    } catch (err) {
      for (const held of dirty) held.isDirty = true;
      this.#deps.logger.error("policy contexts could not be written", { err });
    }
  }
}
