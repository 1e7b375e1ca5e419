import { randomBytes, randomUUID } from "node:crypto";
import {
  allPages,
  BerthError,
  type DocumentKey,
  type DocumentStore,
  type Write,
} from "@berth/service-kit";
import type { KnownTerms } from "./store-verdict.ts";
import { isTermIdProven, stretchOf, termIdOf } from "./term-id.ts";

const KEY = { collection: "fleet", id: "term_key" } as const;
const STARTS = "term_starts";
/** Ids by term, as unreleased versions kept them; nobody reads them any more. */
const FORMER = "fleet_terms";
const KEY_BYTES = 32;
/** Starts that are remembered; the oldest go first. */
const MAX_STARTS = 10_000;
/** Enough for a thousand stretches each second of 30,000 years. */
const NUMBER_DIGITS = 15;

interface KeyBody {
  /** base64url. */
  readonly key: string;
}

/** One start of the control-plane, or of a new key, as it lies in the store. */
interface StartBody {
  /** UUID. */
  readonly start: string;
  /** Number of its first stretch. */
  readonly from: number;
  /** Number of its newest stretch. */
  readonly to: number;
}

/** What {@link openTermBook} needs. */
export interface TermBookDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  /** Starts that are remembered, 10,000 by default. */
  readonly kept?: number;
}

/** A new stretch under a new key. */
export interface TermRenewal {
  readonly termId: string;
  /** What makes it durable; all of it, or none. */
  readonly writes: readonly Write[];
  /** Takes it over once it is durable. */
  commit(): void;
}

/** Reads the starts before this one, and begins its first stretch, durable when it resolves. */
export async function openTermBook(deps: TermBookDeps): Promise<TermBook> {
  const { store, orgId, kept = MAX_STARTS } = deps;
  const starts: StartBody[] = [];
  for await (const { body } of allPages<StartBody>(store, { orgId, collection: STARTS })) {
    starts.push(body);
  }
  await removeFormer(store, orgId);
  const key = await storeKey(store, orgId);
  const newest = newStart(starts.at(-1)?.to ?? 0);
  const pruned = starts.splice(0, Math.max(0, starts.length + 1 - kept));
  const outcome = await store.apply([
    { kind: "insert", key: startKey(orgId, newest), body: newest },
    ...pruned.map((old): Write => ({ kind: "delete", key: startKey(orgId, old) })),
  ]);
  if (outcome.kind === "refused")
    throw new BerthError("INTERNAL", "a start of the term came twice");
  return new TermBook(deps, { key, former: starts, newest });
}

/**
 * The ids that this store has given, one for each *stretch* of time, numbered over all starts. A copy of the
 * store, also one that was made while it ran, does not know the stretches that began later; and a start of
 * the copy goes on under a UUID of its own. The key of the ids lies in the store: every copy can prove that
 * one of them gave an id, and nobody else can make one.
 */
export class TermBook implements KnownTerms {
  readonly #deps: TermBookDeps;
  /** By UUID, oldest first. */
  readonly #starts: Map<string, StartBody>;
  #newest: StartBody;
  #key: Buffer;

  constructor(
    deps: TermBookDeps,
    held: {
      readonly key: Buffer;
      /** Oldest first. */
      readonly former: readonly StartBody[];
      readonly newest: StartBody;
    },
  ) {
    this.#deps = deps;
    this.#key = held.key;
    this.#starts = new Map([...held.former, held.newest].map((body) => [body.start, body]));
    this.#newest = held.newest;
  }

  /** Id of the newest stretch. */
  get termId(): string {
    return idOf(this.#key, this.#newest);
  }

  get oldest(): number {
    const [first] = this.#starts.values();
    return first?.from ?? this.#newest.from;
  }

  gave(termId: string): boolean {
    const stretch = stretchOf(termId);
    const known = this.#starts.get(stretch?.start ?? "");
    if (stretch === undefined || known === undefined) return false;
    const isWithin = stretch.number >= known.from && stretch.number <= known.to;
    return isWithin && this.isProven(termId);
  }

  /** Whether an id is one of this store's, of a stretch no older than that of another one. */
  reaches(termId: string, other: string): boolean {
    const [stretch, aim] = [stretchOf(termId), stretchOf(other)];
    if (stretch === undefined || aim === undefined) return false;
    return stretch.number >= aim.number && this.gave(termId);
  }

  isProven(termId: string): boolean {
    return isTermIdProven(this.#key, termId);
  }

  /** Ids of the next stretches, in their order; {@link begin} gives them. */
  next(count: number): readonly string[] {
    const { to } = this.#newest;
    return Array.from({ length: count }, (_, index) => {
      return idOf(this.#key, { ...this.#newest, to: to + 1 + index });
    });
  }

  /**
   * Begins new stretches, one by default, durable when it resolves; nobody is told of them before. Not to be
   * called twice at once.
   */
  async begin(count = 1): Promise<void> {
    const { store, orgId } = this.#deps;
    const newest = { ...this.#newest, to: this.#newest.to + count };
    const outcome = await store.apply([
      { kind: "replace", key: startKey(orgId, newest), body: newest },
    ]);
    if (outcome.kind === "refused") {
      throw new BerthError("INTERNAL", `the start of the term is ${outcome.why}`);
    }
    this.#goOn(newest);
  }

  /**
   * A new stretch under a new key, for a store that gets a new store id: nothing that a copy with the former
   * id gave proves anything to this one.
   */
  renewal(): TermRenewal {
    const { orgId } = this.#deps;
    const key = randomBytes(KEY_BYTES);
    const newest = newStart(this.#newest.to);
    const body: KeyBody = { key: key.toString("base64url") };
    return {
      termId: idOf(key, newest),
      writes: [
        { kind: "replace", key: { orgId, ...KEY }, body },
        { kind: "insert", key: startKey(orgId, newest), body: newest },
      ],
      commit: () => {
        this.#key = key;
        this.#goOn(newest);
      },
    };
  }

  #goOn(newest: StartBody): void {
    this.#starts.set(newest.start, newest);
    this.#newest = newest;
  }
}

/** A start behind the newest stretch of the one before. */
function newStart(before: number): StartBody {
  return { start: randomUUID(), from: before + 1, to: before + 1 };
}

function idOf(key: Buffer, { start, to }: StartBody): string {
  return termIdOf(key, { number: to, start });
}

function startKey(orgId: string, { from }: StartBody): DocumentKey {
  return { orgId, collection: STARTS, id: String(from).padStart(NUMBER_DIGITS, "0") };
}

async function removeFormer(store: DocumentStore, orgId: string): Promise<void> {
  for await (const { id } of allPages(store, { orgId, collection: FORMER })) {
    await store.apply([{ kind: "delete", key: { orgId, collection: FORMER, id } }]);
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
