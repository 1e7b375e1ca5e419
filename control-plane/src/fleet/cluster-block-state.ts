import type { BlockDocument, LeaseDocument, LedgerDocument, OperationDocument } from "@berth/proto";
import { BerthError } from "@berth/service-kit";
import type { ClusterBlocks } from "./agent-api.ts";
import { type BlockValue, blockKey, type HoldsDocument, MAX_BLOCK_KEYS } from "./block-entries.ts";

/** Most that is kept of the blocks of one cluster: 10,000 blocks with 100,000 instances fit. */
const MAX_CHARACTERS = 80 * 1024 * 1024;
/** Longest time that decisions wait for the ledger's news of an order, ms. */
const BEHIND_MS = 5_000;

/** A value of one key as it came. */
export interface BlockEntry {
  readonly key: string;
  readonly revision: bigint;
  readonly characters: number;
  /** When it was written, on this side's monotonic clock, ms. */
  readonly atMs: number;
  readonly value: BlockValue;
}

type Facts = Pick<ClusterBlocks, "ledger" | "blocks" | "operations" | "allocations">;

/**
 * What the agent of one cluster told of its blocks, operations and ledger: the newest value of each key. Pure state: no
 * I/O, and the time is told.
 */
export class ClusterBlockState {
  readonly #entries = new Map<string, BlockEntry>();
  readonly #counts = new Map<BlockValue["kind"], number>();
  #characters = 0;
  #facts: Facts | undefined;
  #awaited = { revision: 0n, untilMs: Number.NEGATIVE_INFINITY };

  /** Whether anything was told. */
  get isEmpty(): boolean {
    return this.#entries.size === 0;
  }

  /** Revisions by key. */
  *revisions(): Generator<readonly [key: string, revision: bigint]> {
    for (const { key, revision } of this.#entries.values()) yield [key, revision];
  }

  /** Whether a block of this id was told. */
  hasBlock(blockId: string): boolean {
    return this.#entries.has(`block/${blockId}`);
  }

  /**
   * Throws INVALID_ARGUMENT when these values, taken in beside what is held or with `whole` in its place, would be too
   * many, or too much.
   */
  check(entries: readonly BlockEntry[], whole: boolean): void {
    const counts = new Map(whole ? [] : this.#counts);
    const sizes = new Map<string, number>();
    let characters = whole ? 0 : this.#characters;
    for (const { key, value, characters: size } of entries) {
      const held = whole ? undefined : this.#entries.get(key)?.characters;
      const before = sizes.get(key) ?? held;
      if (before === undefined) counts.set(value.kind, (counts.get(value.kind) ?? 0) + 1);
      sizes.set(key, size);
      characters += size - (before ?? 0);
    }
    for (const [kind, most] of Object.entries(MAX_BLOCK_KEYS)) {
      if ((counts.get(kind as BlockValue["kind"]) ?? 0) <= most) continue;
      throw new BerthError("INVALID_ARGUMENT", `entries: expected at most ${most} of ${kind}`);
    }
    if (characters <= MAX_CHARACTERS) return;
    const message = `entries: a cluster's blocks hold at most ${MAX_CHARACTERS} characters`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }

  /** Takes a value in; gives whether it is newer than what is held. */
  take(entry: BlockEntry): boolean {
    const { key, revision, value } = entry;
    const held = this.#entries.get(key);
    if (held !== undefined && held.revision >= revision) return false;
    if (held === undefined) this.#count(value.kind, 1);
    this.#characters += entry.characters - (held?.characters ?? 0);
    this.#entries.set(key, entry);
    this.#facts = undefined;
    return true;
  }

  /** The key is gone since this revision; gives whether it was there. */
  delete(key: string, revision: bigint): boolean {
    const held = this.#entries.get(key);
    if (held === undefined || held.revision >= revision) return false;
    this.#entries.delete(key);
    this.#count(held.value.kind, -1);
    this.#characters -= held.characters;
    this.#facts = undefined;
    return true;
  }

  /** Forgets what was told; what is awaited of the ledger stays awaited. */
  clear(): void {
    this.#entries.clear();
    this.#counts.clear();
    this.#characters = 0;
    this.#facts = undefined;
  }

  /** An order was answered at this revision of the ledger, which is heard of at the latest 5 s after. */
  answered(revision: bigint, nowMs: number): void {
    if (revision <= this.#awaited.revision) return;
    this.#awaited = { revision, untilMs: nowMs + BEHIND_MS };
  }

  /** All of it as it stands now. */
  at(nowMs: number, about: Pick<ClusterBlocks, "clusterId" | "isLive">): ClusterBlocks {
    this.#facts ??= this.#read();
    const { facts, holds } = { facts: this.#facts, holds: this.#holds() };
    let leases: readonly LeaseDocument[] | undefined;
    return {
      ...about,
      ...facts,
      isBehind: this.#isBehind(facts.ledger, nowMs),
      get leases() {
        leases ??= holds.flatMap(({ document, atMs }) => leasesAt(document, nowMs - atMs));
        return leases;
      },
    };
  }

  #isBehind(ledger: LedgerDocument | undefined, nowMs: number): boolean {
    const { revision, untilMs } = this.#awaited;
    return nowMs < untilMs && revision > BigInt(ledger?.revision ?? 0);
  }

  #holds(): readonly { readonly document: HoldsDocument; readonly atMs: number }[] {
    const found: { document: HoldsDocument; atMs: number }[] = [];
    for (const { value, atMs } of this.#entries.values()) {
      if (value.kind === "holds" && value.document.leases.length > 0) {
        found.push({ document: value.document, atMs });
      }
    }
    return found;
  }

  #read(): Facts {
    const blocks = new Map<string, BlockDocument>();
    const operations = new Map<string, OperationDocument>();
    const allocations: HoldsDocument["allocations"][number][] = [];
    let ledger: LedgerDocument | undefined;
    for (const { value, key } of this.#entries.values()) {
      const id = blockKey(key)?.id ?? "";
      if (value.kind === "block") blocks.set(id, value.document);
      else if (value.kind === "operation") operations.set(id, value.document);
      else if (value.kind === "holds") allocations.push(...value.document.allocations);
      else ledger = value.document;
    }
    return { ledger, blocks, operations, allocations };
  }

  #count(kind: BlockValue["kind"], by: 1 | -1): void {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + by);
  }
}

/** Leases so much later than they were written, ms. */
function leasesAt({ leases }: HoldsDocument, laterMs: number): readonly LeaseDocument[] {
  const passedMs = Math.max(0, Math.round(laterMs));
  return leases.map((lease) => ({
    ...lease,
    ttl_left_ms: Math.max(0, lease.ttl_left_ms - passedMs),
    age_ms: lease.age_ms + passedMs,
  }));
}
