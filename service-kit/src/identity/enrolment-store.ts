import { BerthError } from "../errors.ts";
import type { DocumentKey, DocumentStore, Write } from "../store/document-store.ts";
import type { Binding, TokenRecord } from "./token-record.ts";

/** A token with the hash of its secret. */
export interface StoredToken extends TokenRecord {
  /** SHA-256 of the secret's text, hexadecimal. */
  readonly secretSha256: string;
}

/** A binding with the hash of its key. */
export interface StoredBinding extends Binding {
  /** SHA-256 of the key's text, hexadecimal. */
  readonly keySha256: string;
}

/** A change of one token or binding; undefined deletes it. */
export interface EnrolmentChange {
  readonly token?: {
    readonly id: string;
    readonly before: StoredToken | undefined;
    readonly after: StoredToken | undefined;
  };
  readonly binding?: {
    readonly id: string;
    readonly before: StoredBinding | undefined;
    readonly after: StoredBinding | undefined;
  };
}

const TOKENS = "enrolment_tokens";
const BINDINGS = "enrolment_bindings";

/**
 * Tokens and bindings of one org: all of them in memory, each change in the store before it counts.
 * The program is the store's only writer, and changes must be made one after the other.
 */
export class EnrolmentStore {
  readonly #store: DocumentStore;
  readonly #orgId: string;
  readonly #tokens = new Map<string, StoredToken>();
  readonly #tokenOfSecret = new Map<string, StoredToken>();
  readonly #bindings = new Map<string, StoredBinding>();
  readonly #bindingOfKey = new Map<string, StoredBinding>();

  constructor(store: DocumentStore, orgId: string) {
    this.#store = store;
    this.#orgId = orgId;
  }

  /** Reads everything; once, before anything else. */
  async load(): Promise<void> {
    const orgId = this.#orgId;
    for (const { body } of await this.#store.list<StoredToken>({ orgId, collection: TOKENS })) {
      this.#setToken(body.id, body);
    }
    for (const { body } of await this.#store.list<StoredBinding>({ orgId, collection: BINDINGS })) {
      this.#setBinding(body.subjectId, body);
    }
  }

  /** Tokens in the order of their making. */
  tokens(): readonly StoredToken[] {
    return [...this.#tokens.values()].sort((a, b) => compare(a.createdAt, b.createdAt));
  }

  /** Bindings in the order of their ids. */
  bindings(): readonly StoredBinding[] {
    return [...this.#bindings.values()].sort((a, b) => compare(a.subjectId, b.subjectId));
  }

  get tokenCount(): number {
    return this.#tokens.size;
  }

  get bindingCount(): number {
    return this.#bindings.size;
  }

  token(id: string): StoredToken | undefined {
    return this.#tokens.get(id);
  }

  /** By the hash of the secret: what a caller learns from the time of a lookup is of no use to it. */
  tokenOfSecret(secretSha256: string): StoredToken | undefined {
    return this.#tokenOfSecret.get(secretSha256);
  }

  binding(subjectId: string): StoredBinding | undefined {
    return this.#bindings.get(subjectId);
  }

  bindingOfKey(keySha256: string): StoredBinding | undefined {
    return this.#bindingOfKey.get(keySha256);
  }

  /** Makes changes, and other writes to the same store with them: all durable before it resolves, or none. */
  async change(changes: readonly EnrolmentChange[], beside: readonly Write[] = []): Promise<void> {
    const own = changes.flatMap(({ token, binding }) => [
      ...(token === undefined ? [] : [this.#write(TOKENS, token)]),
      ...(binding === undefined ? [] : [this.#write(BINDINGS, binding)]),
    ]);
    const outcome = await this.#store.apply([...own, ...beside]);
    if (outcome.kind === "refused") {
      const { collection, id } = outcome.key;
      throw new BerthError("INTERNAL", `${collection} ${id} was not written: ${outcome.why}`);
    }
    for (const { token, binding } of changes) {
      if (token !== undefined) this.#setToken(token.id, token.after);
      if (binding !== undefined) this.#setBinding(binding.id, binding.after);
    }
  }

  #write(collection: string, change: { id: string; before: unknown; after: unknown }): Write {
    const key: DocumentKey = { orgId: this.#orgId, collection, id: change.id };
    if (change.after === undefined) return { kind: "delete", key };
    return { kind: change.before === undefined ? "insert" : "replace", key, body: change.after };
  }

  #setToken(id: string, token: StoredToken | undefined): void {
    const before = this.#tokens.get(id);
    if (before !== undefined) this.#tokenOfSecret.delete(before.secretSha256);
    this.#tokens.delete(id);
    if (token === undefined) return;
    this.#tokens.set(id, token);
    this.#tokenOfSecret.set(token.secretSha256, token);
  }

  #setBinding(id: string, binding: StoredBinding | undefined): void {
    const before = this.#bindings.get(id);
    if (before !== undefined) this.#bindingOfKey.delete(before.keySha256);
    this.#bindings.delete(id);
    if (binding === undefined) return;
    this.#bindings.set(id, binding);
    this.#bindingOfKey.set(binding.keySha256, binding);
  }
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
