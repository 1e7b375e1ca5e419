import { LruCache, type RunnablePolicy } from "@berth/policy-sandbox";
import { BerthError, type DocumentStore } from "@berth/service-kit";
import { CODE, RECORDS, type StoredPolicy } from "./stored-policies.ts";

const MAX_CACHED = 1_000;
/** Of code and defaults together. */
const MAX_CACHED_CHARACTERS = 64 * 1024 * 1024;

/** Published from the first run of a version in this process to its removal. */
interface Life {
  isOver: boolean;
}

/** What running a policy takes, read from the store when it is not among those that ran lately. */
export class RunnablePolicies {
  readonly #store: Pick<DocumentStore, "get">;
  readonly #cached = new LruCache<RunnablePolicy>({
    maxEntries: MAX_CACHED,
    maxWeight: MAX_CACHED_CHARACTERS,
    weightOf: charactersOf,
  });
  /** One for each version that has run and is still there. */
  readonly #lives = new Map<string, Life>();
  #removals = 0;

  constructor(store: Pick<DocumentStore, "get">) {
    this.#store = store;
  }

  /** A policy ready to run; undefined when there is none. */
  async get(orgId: string, uri: string): Promise<RunnablePolicy | undefined> {
    const name = nameOf(orgId, uri);
    const known = this.#cached.get(name);
    if (known !== undefined) return known;
    const removals = this.#removals;
    const stored = await this.#read(orgId, uri);
    // What was read before a removal may be what was removed.
    if (removals !== this.#removals) return this.get(orgId, uri);
    if (stored === undefined) return undefined;
    const life = this.#lives.get(name) ?? { isOver: false };
    this.#lives.set(name, life);
    const { record, settingsJson, parametersJson } = stored.policy;
    const policy: RunnablePolicy = {
      ...{ uri, name: record.name, settingsJson, parametersJson },
      code: { digest: record.digest, language: "python", files: stored.files },
      isPublished: () => !life.isOver,
    };
    this.#cached.set(name, policy);
    return policy;
  }

  /** Forgets a version that was removed, as soon as the store has it no more. */
  removed(orgId: string, uri: string): void {
    const name = nameOf(orgId, uri);
    this.#removals += 1;
    const life = this.#lives.get(name);
    if (life !== undefined) life.isOver = true;
    this.#lives.delete(name);
    this.#cached.delete(name);
  }

  async #read(orgId: string, uri: string) {
    const policy = await this.#recordOf(orgId, uri);
    if (policy === undefined) return undefined;
    const { digest } = policy.record;
    const code = await this.#store.get<{ files: Record<string, string> }>({
      orgId,
      collection: CODE,
      id: digest,
    });
    if (code !== undefined) return { policy, files: code.body.files };
    // Code goes with the last record that names it.
    if ((await this.#recordOf(orgId, uri)) === undefined) return undefined;
    throw new BerthError("INTERNAL", `code ${digest} is missing`);
  }

  async #recordOf(orgId: string, uri: string): Promise<StoredPolicy | undefined> {
    const key = { orgId, collection: RECORDS, id: uri };
    return (await this.#store.get<StoredPolicy>(key))?.body;
  }
}

function charactersOf({ settingsJson, parametersJson, code }: RunnablePolicy): number {
  const texts = [settingsJson, parametersJson, ...Object.entries(code.files).flat()];
  return texts.reduce((sum, text) => sum + text.length, 0);
}

function nameOf(orgId: string, uri: string): string {
  return JSON.stringify([orgId, uri]);
}
