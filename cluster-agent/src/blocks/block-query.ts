import type { ClusterDocument } from "@berth/proto";
import { BerthError, Pacer, QueryRunner } from "@berth/service-kit";
import {
  type BlockFacts,
  blockDocument,
  blockDocumentText,
  leanCluster,
  type ObservedFacts,
  PlainBlockDocument,
  plainCluster,
} from "./block-document.ts";
import type { BlockRecord, InstanceRecord } from "./block-records.ts";
import { compareValues, sortValue } from "./mongo-order.ts";
import type { Projection } from "./projection.ts";
import type { BlockQuery, ListedPage, SortPath } from "./query-request.ts";
import { sortPaced } from "./sort-paced.ts";

/** What a list of blocks is made from, as it is at one moment. */
export interface BlockScene {
  /** In the order of their ids. */
  readonly blocks: readonly BlockRecord[];
  readonly instancesOf: (blockId: string) => readonly InstanceRecord[];
  readonly observed: ReadonlyMap<string, ObservedFacts>;
  readonly cluster: ClusterDocument;
}

/** Bounds of an answer. */
export interface AnswerLimits {
  readonly characters: number;
  /** Longest time of the comparisons of a sort, ms. */
  readonly sortMs: number;
}

/** By default. */
export const ANSWER_LIMITS: AnswerLimits = { characters: 64 * 1024 * 1024, sortMs: 2_000 };

/**
 * Lists blocks and carries out queries, a few ms at a time, so that others have their turn meanwhile. An answer is the
 * JSON text of a list of documents: their `cluster` goes without its nodes, which filters and sorts may name all the same.
 * PAYLOAD_TOO_LARGE when a list grows too long, INVALID_ARGUMENT when a filter or a sort takes too long.
 */
export class BlockQueries {
  readonly #pacer = new Pacer();
  readonly #queries = new QueryRunner(this.#pacer);
  readonly #limits: AnswerLimits;
  readonly #plain = new WeakMap<BlockRecord, PlainBlockDocument>();

  constructor(limits: Partial<AnswerLimits> = {}) {
    this.#limits = { ...ANSWER_LIMITS, ...limits };
  }

  /** The documents of a page of all blocks. */
  list(page: ListedPage, scene: BlockScene): Promise<string> {
    return this.#paced(this.#answer(scene.blocks, { ...page, projection: undefined }, scene));
  }

  /** The documents that a query asks for. Numbers are compared as doubles, and shown as they were written. */
  async query(query: BlockQuery, scene: BlockScene): Promise<string> {
    const cluster = plainCluster(scene.cluster);
    const documentOf = (record: BlockRecord) => {
      const plain = this.#plain.getOrInsertComputed(
        record,
        () => new PlainBlockDocument(factsOf(record, scene)),
      );
      return plain.look(factsOf(record, scene), cluster);
    };
    const { matches, sort } = query;
    const found = await this.#queries.select({
      ...{ items: scene.blocks, matches, documentOf, field: "query" },
    });
    const sorted = sort.length === 0 ? found : await this.#sorted(found, sort, documentOf);
    return this.#paced(this.#answer(sorted, query, scene));
  }

  async #sorted(
    found: readonly BlockRecord[],
    sort: readonly SortPath[],
    documentOf: (record: BlockRecord) => object,
  ): Promise<readonly BlockRecord[]> {
    const [first] = sort;
    // They stand in this order already, and no two have one id.
    if (first?.keys.join(".") === "id") return first.direction === 1 ? found : found.toReversed();
    const items = found.map((record): SortedItem => ({ record, values: [] }));
    // The runner bounds the time of each look, and of all together.
    await this.#queries.select({
      items,
      matches: () => true,
      documentOf: (item) => {
        const document = documentOf(item.record);
        item.values = sort.map(({ keys, direction }) => sortValue(document, keys, direction));
        return document;
      },
      field: "options.sort",
    });
    const compare = (one: SortedItem, other: SortedItem) => compareItems(one, other, sort);
    const sorted = await this.#paced(limited(sortPaced(items, compare), this.#limits.sortMs));
    return sorted.map(({ record }) => record);
  }

  *#answer(
    records: readonly BlockRecord[],
    { skip, limit, projection }: Pick<BlockQuery, "skip" | "limit" | "projection">,
    scene: BlockScene,
  ): Generator<void, string> {
    const cluster = leanCluster(scene.cluster);
    const clusterText = JSON.stringify(cluster);
    const texts: string[] = [];
    let characters = 0;
    for (const record of records.slice(skip, skip + limit)) {
      const facts = factsOf(record, scene);
      const text =
        projection === undefined
          ? blockDocumentText(facts, clusterText)
          : projectedText(facts, cluster, projection);
      texts.push(text);
      characters += text.length;
      if (characters > this.#limits.characters) throw tooLarge(this.#limits.characters);
      yield;
    }
    return `[${texts.join(",")}]`;
  }

  #paced<T>(work: Generator<void, T>): Promise<T> {
    return this.#pacer.run(work, new AbortController().signal);
  }
}

/** The text of one block's document, with the whole cluster. */
export function wholeDocumentText(record: BlockRecord, scene: BlockScene): string {
  return blockDocumentText(factsOf(record, scene), JSON.stringify(scene.cluster));
}

interface SortedItem {
  readonly record: BlockRecord;
  /** What it is sorted by, one for each path. */
  values: readonly unknown[];
}

function compareItems(one: SortedItem, other: SortedItem, sort: readonly SortPath[]): number {
  for (const [index, { direction }] of sort.entries()) {
    const difference = compareValues(one.values[index], other.values[index]);
    if (difference !== 0) return difference * direction;
  }
  return 0;
}

/** A sort that is given up when its comparisons take too long together. */
function* limited<T>(sort: Generator<void, T>, limitMs: number): Generator<void, T> {
  let spentMs = 0;
  for (;;) {
    const begunAt = performance.now();
    const piece = sort.next();
    if (piece.done === true) return piece.value;
    spentMs += performance.now() - begunAt;
    if (spentMs > limitMs) {
      const message = `options.sort: takes more than ${limitMs} ms: sort by shorter values`;
      throw new BerthError("INVALID_ARGUMENT", message);
    }
    yield;
  }
}

function projectedText(facts: BlockFacts, cluster: object, projection: Projection): string {
  return JSON.stringify(projection(blockDocument(facts, cluster)));
}

/** Few filters look at the instances: they are gathered when one does. */
function factsOf(record: BlockRecord, { instancesOf, observed }: BlockScene): BlockFacts {
  let instances: readonly InstanceRecord[] | undefined;
  return {
    record,
    get instances() {
      instances ??= instancesOf(record.id);
      return instances;
    },
    observed,
  };
}

function tooLarge(characters: number): BerthError {
  const why = `the blocks take more than ${characters} characters of JSON`;
  const message = `${why}: ask with limit and skip, or with options.projection`;
  return new BerthError("PAYLOAD_TOO_LARGE", message);
}
