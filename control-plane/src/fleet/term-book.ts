import { createHmac, randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import {
  allPages,
  BerthError,
  type DocumentKey,
  type DocumentStore,
  type Write,
} from "@berth/service-kit";
import type { KnownTerms } from "./store-verdict.ts";

const KEY = { collection: "fleet", id: "term_key" } as const;
const TERMS = "fleet_terms";
const KEY_BYTES = 32;
/** Terms whose ids are kept; the oldest go first. */
const MAX_TERMS = 10_000;
/** Enough for every number that the store counts to. */
const TERM_DIGITS = 16;
const TERM_ID = /^([0-9a-f-]{36})\.([A-Za-z0-9_-]{43})$/;

interface KeyBody {
  /** base64url. */
  readonly key: string;
}

interface TermBody {
  readonly termId: string;
}

/** What {@link openTermBook} needs. */
export interface TermBookDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  /** Term of this start. */
  readonly controllerTerm: bigint;
  /** Terms whose ids are kept, 10,000 by default. */
  readonly kept?: number;
}

/** A new id for the current term, under a new key. */
export interface TermRenewal {
  readonly termId: string;
  /** What makes it durable; all of it, or none. */
  readonly writes: readonly Write[];
  /** Takes it over once it is durable. */
  commit(): void;
}

/**
 * Gives this start's term its id, durable when it resolves, and reads the ids of the terms before. INTERNAL
 * when the term has one already: it was not raised.
 */
export async function openTermBook(deps: TermBookDeps): Promise<TermBook> {
  const { store, orgId, controllerTerm, kept = MAX_TERMS } = deps;
  const ids = new Map<bigint, string>();
  for await (const { id, body } of allPages<TermBody>(store, { orgId, collection: TERMS })) {
    ids.set(BigInt(id), body.termId);
  }
  const key = await storeKey(store, orgId);
  const termId = mint(key, controllerTerm);
  const pruned = [...ids.keys()].slice(0, Math.max(0, ids.size + 1 - kept));
  const outcome = await store.apply([
    { kind: "insert", key: termKey(orgId, controllerTerm), body: { termId } },
    ...pruned.map((term): Write => ({ kind: "delete", key: termKey(orgId, term) })),
  ]);
  if (outcome.kind === "refused") {
    throw new BerthError("INTERNAL", `the term ${controllerTerm} has an id already`);
  }
  for (const term of pruned) ids.delete(term);
  ids.set(controllerTerm, termId);
  return new TermBook({ orgId, controllerTerm, key, ids });
}

/**
 * The ids of the terms that this store has given. An id is "<uuid>.<HMAC-SHA256 of term and uuid>" under a key
 * that lies in the store: every copy of the store can prove that one of them gave an id, nobody else can
 * make one, and the uuid tells the copies apart.
 */
export class TermBook implements KnownTerms {
  readonly #orgId: string;
  readonly #term: bigint;
  readonly #ids: Map<bigint, string>;
  /** Lowest first. */
  readonly #oldest: bigint;
  #key: Buffer;

  constructor(held: {
    readonly orgId: string;
    readonly controllerTerm: bigint;
    readonly key: Buffer;
    readonly ids: Map<bigint, string>;
  }) {
    this.#orgId = held.orgId;
    this.#term = held.controllerTerm;
    this.#key = held.key;
    this.#ids = held.ids;
    this.#oldest = held.ids.keys().next().value ?? held.controllerTerm;
  }

  /** Id of this start's term. */
  get termId(): string {
    return this.#ids.get(this.#term) ?? "";
  }

  get oldest(): bigint {
    return this.#oldest;
  }

  idOf(term: bigint): string | undefined {
    return this.#ids.get(term);
  }

  isProven(term: bigint, termId: string): boolean {
    const [, uuid, proof] = TERM_ID.exec(termId) ?? [];
    if (uuid === undefined || proof === undefined) return false;
    return timingSafeEqual(Buffer.from(proof), Buffer.from(proofOf(this.#key, term, uuid)));
  }

  /**
   * A new id for the term under a new key, for a store that gets a new store id: nothing that a copy with the
   * former id gave proves anything to this one.
   */
  renewal(): TermRenewal {
    const key = randomBytes(KEY_BYTES);
    const termId = mint(key, this.#term);
    const body: KeyBody = { key: key.toString("base64url") };
    return {
      termId,
      writes: [
        { kind: "replace", key: { orgId: this.#orgId, ...KEY }, body },
        { kind: "replace", key: termKey(this.#orgId, this.#term), body: { termId } },
      ],
      commit: () => {
        this.#key = key;
        this.#ids.set(this.#term, termId);
      },
    };
  }
}

/** The key in the store, made when there is none. */
async function storeKey(store: DocumentStore, orgId: string): Promise<Buffer> {
  const at: DocumentKey = { orgId, ...KEY };
  const found = await store.get<KeyBody>(at);
  if (found !== undefined) return Buffer.from(found.body.key, "base64url");
  const key = randomBytes(KEY_BYTES);
  const outcome = await store.apply([
    { kind: "insert", key: at, body: { key: key.toString("base64url") } satisfies KeyBody },
  ]);
  if (outcome.kind === "refused") throw new BerthError("INTERNAL", "the key of terms came twice");
  return key;
}

function termKey(orgId: string, term: bigint): DocumentKey {
  return { orgId, collection: TERMS, id: String(term).padStart(TERM_DIGITS, "0") };
}

function mint(key: Buffer, term: bigint): string {
  const uuid = randomUUID();
  return `${uuid}.${proofOf(key, term, uuid)}`;
}

function proofOf(key: Buffer, term: bigint, uuid: string): string {
  return createHmac("sha256", key).update(`${term}|${uuid}`).digest("base64url");
}
