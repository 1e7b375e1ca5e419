import type { BerthError, DocumentKey, Write } from "@berth/service-kit";
import type { Hold } from "./claim.ts";
import type { HoldIndex } from "./hold-index.ts";
import { EMPTY_BODY, type NodeBody, storedBody } from "./node-body.ts";

/** How a write ended: undefined when it is durable. */
export type WriteEnd = BerthError | undefined;

/**
 * The holds of one node: as they are on disk, and as they will be once every write under way is there. Writes follow
 * one another without waiting: each is computed on the one before and needs its revision, so when one fails all behind
 * it fail too. From then on the book is closed until it has been read from the store again.
 */
export class NodeBook {
  readonly #key: DocumentKey;
  readonly #index: HoldIndex;
  /** Ids that the index has of this node. */
  readonly #indexed = new Set<string>();
  #durable: NodeBody = EMPTY_BODY;
  #working: NodeBody = EMPTY_BODY;
  /** Revision that the document will have; undefined when there will be none. */
  #revision: number | undefined;
  #tail: Promise<WriteEnd> = Promise.resolve(undefined);
  #underWay = 0;
  #isBroken = false;
  #isDeleting = false;
  #damage: string | undefined;

  constructor(key: DocumentKey, index: HoldIndex) {
    this.#key = key;
    this.#index = index;
  }

  get nodeId(): string {
    return this.#key.id;
  }

  get key(): DocumentKey {
    return this.#key;
  }

  /** What is on disk: what others may be told. */
  get durable(): NodeBody {
    return this.#durable;
  }

  /** What the next write is computed on. */
  get working(): NodeBody {
    return this.#working;
  }

  /** What is wrong with the document; undefined when it is in order. */
  get damage(): string | undefined {
    return this.#damage;
  }

  /** How the last write that has begun ends; never rejects. */
  get tail(): Promise<WriteEnd> {
    return this.#tail;
  }

  get isIdle(): boolean {
    return this.#underWay === 0;
  }

  /** A write has failed: the store may have it or not. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /**
   * Whether a write may begin. None does behind a deletion: a document that is there again starts at revision 1, which
   * would not tell it from the one before.
   */
  get isReady(): boolean {
    return !this.#isBroken && !this.#isDeleting;
  }

  /** Nothing is held and nothing is being written. */
  get isBlank(): boolean {
    const isEmpty = this.#durable.holds.size === 0 && this.#revision === undefined;
    return isEmpty && this.isIdle && this.isReady && this.#damage === undefined;
  }

  /** Begins a write of a new body; `end` tells how it ends. Call it only while {@link isReady}. */
  begin(body: NodeBody, end: Promise<WriteEnd>): Write {
    const write = this.#write(body);
    this.#underWay += 1;
    this.#tail = end;
    this.#isDeleting = write.kind === "delete";
    this.#revision = write.kind === "delete" ? undefined : (this.#revision ?? 0) + 1;
    const former = this.#working.holds;
    this.#working = body;
    for (const [id, hold] of body.holds) if (former.get(id) !== hold) this.#enter(hold);
    return write;
  }

  /** A write has ended, in the order of the beginnings: `body` is durable, or when undefined nothing is known. */
  end(body: NodeBody | undefined): void {
    this.#underWay -= 1;
    this.#isDeleting &&= this.#underWay > 0;
    if (body === undefined) {
      this.#isBroken = true;
      return;
    }
    const former = this.#durable.holds;
    this.#durable = body;
    for (const id of former.keys()) {
      if (!body.holds.has(id) && !this.#working.holds.has(id)) this.#strike(id);
    }
  }

  /** Takes over what the store has: nothing is under way. */
  adopt(found: { readonly body: NodeBody; readonly revision: number } | undefined): void {
    const { body, revision } = found ?? { body: EMPTY_BODY, revision: undefined };
    for (const id of [...this.#indexed]) this.#strike(id);
    for (const hold of body.holds.values()) this.#enter(hold);
    this.#durable = body;
    this.#working = body;
    this.#revision = revision;
    this.#damage = undefined;
    this.#reset();
  }

  /** The store has a document that is not ours: nothing is taken or freed there until somebody has mended it. */
  refuse(why: string): void {
    this.adopt(undefined);
    this.#damage = why;
  }

  #enter(hold: Hold): void {
    this.#indexed.add(hold.id);
    this.#index.add(hold);
  }

  #strike(id: string): void {
    this.#indexed.delete(id);
    this.#index.remove(id, this.nodeId);
  }

  #reset(): void {
    this.#isBroken = false;
    this.#isDeleting = false;
    this.#tail = Promise.resolve(undefined);
  }

  #write(body: NodeBody): Write {
    const key = this.#key;
    if (this.#revision === undefined) return { kind: "insert", key, body: storedBody(body) };
    const ifRevision = this.#revision;
    if (body.holds.size === 0) return { kind: "delete", key, ifRevision };
    return { kind: "replace", key, body: storedBody(body), ifRevision };
  }
}
