import {
  allPages,
  BerthError,
  type DocumentStore,
  type Logger,
  type Part,
  Serial,
  type Write,
} from "@berth/service-kit";
import type { FleetBlocks } from "../fleet/agent-api.ts";

/** What {@link BlockHomes} needs. */
export interface BlockHomesDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly blocks: FleetBlocks;
  /** Whether a block is on its way to a cluster, which does not tell of it yet. */
  readonly isUnderway: (blockId: string) => boolean;
  readonly logger: Logger;
}

interface Home {
  readonly clusterId: string;
  readonly blockId: string;
}

const COLLECTION = "block_homes";
/** Writes that are on their way at a time: the store joins them. */
const AT_ONCE = 200;

/**
 * On which clusters blocks are, over restarts of the control-plane: agents tell it anew, but one that is not back yet has
 * told nothing. What is about to be made is noted before it is asked for, what agents tell is noted behind it.
 */
export class BlockHomes implements Part {
  readonly name = "block homes";
  readonly #deps: BlockHomesDeps;
  /** Block ids by cluster, as the store has them. */
  readonly #homes = new Map<string, Set<string>>();
  /** By cluster: what is noted of one waits for nothing of another. */
  readonly #turns = new Map<string, Serial>();
  /** Clusters whose turn waits. */
  readonly #waiting = new Set<string>();
  #unsubscribe: (() => void) | undefined;

  constructor(deps: BlockHomesDeps) {
    this.#deps = deps;
  }

  /** Reads what the store knows; called once. */
  async load(): Promise<void> {
    const { store, orgId } = this.#deps;
    for await (const { body } of allPages<Home>(store, { orgId, collection: COLLECTION })) {
      this.#of(body.clusterId).add(body.blockId);
    }
  }

  async start(): Promise<void> {
    const { blocks } = this.#deps;
    this.#unsubscribe = blocks.onChange((clusterId) => this.#follow(clusterId));
    for (const { clusterId } of blocks.all()) this.#follow(clusterId);
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.();
    await Promise.all([...this.#turns.values()].map((turns) => turns.run(async () => undefined)));
  }

  /** Clusters that had a block when they were heard last, and were not heard since this program's start. */
  unheard(blockId: string): readonly string[] {
    const { blocks } = this.#deps;
    const homes = [...this.#homes].filter(([, ids]) => ids.has(blockId)).map(([id]) => id);
    return homes.filter((clusterId) => blocks.of(clusterId) === undefined).sort();
  }

  /** Clusters that had blocks when they were heard last, and were not heard since this program's start. */
  unheardClusters(): readonly string[] {
    const { blocks } = this.#deps;
    const homes = [...this.#homes].filter(([, ids]) => ids.size > 0).map(([id]) => id);
    return homes.filter((clusterId) => blocks.of(clusterId) === undefined).sort();
  }

  /** Notes that a block is about to be made on a cluster; durable when it resolves. Rejects when the store fails. */
  note(home: Home): Promise<void> {
    return this.#turnsOf(home.clusterId).run(async () => {
      if (!this.#of(home.clusterId).has(home.blockId)) await this.#write([home], "insert");
    });
  }

  /** Forgets a cluster that is gone for good. Never rejects: what the store does not take is told in the log. */
  forget(clusterId: string): Promise<void> {
    const turn = this.#turnsOf(clusterId).run(async () => {
      const homes = [...this.#of(clusterId)].map((blockId) => ({ clusterId, blockId }));
      await this.#write(homes, "delete");
      this.#homes.delete(clusterId);
    });
    return turn.catch((err: unknown) => {
      this.#deps.logger.error("a removed cluster is still remembered", { cluster: clusterId, err });
    });
  }

  #follow(clusterId: string): void {
    if (this.#waiting.has(clusterId)) return;
    this.#waiting.add(clusterId);
    const turn = this.#turnsOf(clusterId).run(() => {
      this.#waiting.delete(clusterId);
      return this.#sync(clusterId);
    });
    turn.catch((err: unknown) => {
      this.#deps.logger.error("where blocks are was not written down", { cluster: clusterId, err });
    });
  }

  /** What is not told any more has gone, unless it is on its way there. */
  async #sync(clusterId: string): Promise<void> {
    const { blocks, isUnderway } = this.#deps;
    const told = blocks.of(clusterId)?.blocks;
    if (told === undefined) return;
    const known = this.#of(clusterId);
    const home = (blockId: string) => ({ clusterId, blockId });
    const come = [...told.keys()].filter((id) => !known.has(id));
    const gone = [...known].filter((id) => !told.has(id) && !isUnderway(id));
    await this.#write(come.map(home), "insert");
    await this.#write(gone.map(home), "delete");
  }

  /** Writes one by one, as one that is there or gone already must not hold up the others. */
  async #write(homes: readonly Home[], kind: "insert" | "delete"): Promise<void> {
    const { store, orgId } = this.#deps;
    for (let from = 0; from < homes.length; from += AT_ONCE) {
      const some = homes.slice(from, from + AT_ONCE);
      const writes = some.map((home): Write => {
        const key = { orgId, collection: COLLECTION, id: `${home.clusterId}/${home.blockId}` };
        return kind === "insert" ? { kind, key, body: home } : { kind, key };
      });
      await Promise.all(writes.map((write) => store.apply([write])));
      for (const { clusterId, blockId } of some) {
        const ids = this.#of(clusterId);
        if (kind === "insert") ids.add(blockId);
        else ids.delete(blockId);
      }
    }
  }

  #turnsOf(clusterId: string): Serial {
    const turns = this.#turns.get(clusterId) ?? new Serial();
    this.#turns.set(clusterId, turns);
    return turns;
  }

  #of(clusterId: string): Set<string> {
    const known = this.#homes.get(clusterId) ?? new Set<string>();
    this.#homes.set(clusterId, known);
    return known;
  }
}

/** UNAVAILABLE: what is asked for is on clusters whose agents were not heard since this program's start. */
export function notHeard(what: string, clusterIds: readonly string[]): BerthError {
  const since = "not heard since the control-plane was started";
  const message = `${what} cluster ${clusterIds.join(", ")}, whose agent was ${since}: try again when it is back, or remove that cluster`;
  return new BerthError("UNAVAILABLE", message, { details: { cluster_ids: clusterIds } });
}
