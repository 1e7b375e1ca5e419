import { allPages, BerthError, type DocumentStore, type Write } from "@berth/service-kit";

const COLLECTION = "command_runs";
/** Records that are kept: the newest ones. */
export const MAX_RUN_RECORDS = 10_000;
/** Records that one write removes at most. */
const MAX_PRUNED = 200;

interface RunBody {
  /** How often the command was carried out. */
  readonly runs: number;
}

/** What {@link openRunRecords} needs. */
export interface RunRecordsDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  /** Records that are kept; {@link MAX_RUN_RECORDS} by default. */
  readonly kept?: number;
}

/** Opens the durable count of runs. */
export async function openRunRecords(deps: RunRecordsDeps): Promise<RunRecords> {
  const found: { id: string; runs: number; at: string }[] = [];
  const collection = { orgId: deps.orgId, collection: COLLECTION };
  for await (const { id, body, updatedAt } of allPages<RunBody>(deps.store, collection)) {
    found.push({ id, runs: body.runs, at: updatedAt });
  }
  found.sort((one, other) => (one.at < other.at ? -1 : 1));
  return new RunRecords(deps, new Map(found.map(({ id, runs }) => [id, runs])));
}

/**
 * Counts how often each command was carried out, apart from the journal of commands: what a journal that has lost a
 * command lets run twice is counted twice here. Holds the newest commands only.
 */
export class RunRecords {
  readonly #deps: RunRecordsDeps;
  /** Runs by command id, oldest first. */
  readonly #runs: Map<string, number>;
  readonly #kept: number;

  constructor(deps: RunRecordsDeps, runs: Map<string, number>) {
    this.#deps = deps;
    this.#runs = runs;
    this.#kept = deps.kept ?? MAX_RUN_RECORDS;
  }

  /** Runs of a command so far, 0 when none is known. */
  of(commandId: string): number {
    return this.#runs.get(commandId) ?? 0;
  }

  /** Counts one run more, durable when it resolves; gives the new count. */
  async count(commandId: string): Promise<number> {
    const { store, orgId } = this.#deps;
    const former = this.#runs.get(commandId);
    const runs = (former ?? 0) + 1;
    const key = (id: string) => ({ orgId, collection: COLLECTION, id });
    const body: RunBody = { runs };
    const kind = former === undefined ? "insert" : "replace";
    // Known from now on, so that another count meanwhile neither removes it nor what this one removes.
    this.#runs.delete(commandId);
    this.#runs.set(commandId, runs);
    const gone = this.#takeOldest();
    try {
      const outcome = await store.apply([
        { kind, key: key(commandId), body },
        ...gone.map(([id]): Write => ({ kind: "delete", key: key(id) })),
      ]);
      if (outcome.kind === "refused") {
        throw new BerthError("INTERNAL", `the run of ${commandId} was not counted: ${outcome.why}`);
      }
    } catch (thrown) {
      this.#restore(gone, [commandId, former]);
      throw thrown;
    }
    return runs;
  }

  /** Takes the records out that are too many, oldest first. */
  #takeOldest(): readonly (readonly [string, number])[] {
    const count = Math.min(MAX_PRUNED, this.#runs.size - this.#kept);
    const gone = count <= 0 ? [] : this.#runs.entries().take(count).toArray();
    for (const [id] of gone) this.#runs.delete(id);
    return gone;
  }

  /** Puts back what the store still has. */
  #restore(
    gone: readonly (readonly [string, number])[],
    [id, former]: readonly [string, number | undefined],
  ): void {
    const others = [...this.#runs].filter(([other]) => other !== id);
    this.#runs.clear();
    for (const [other, runs] of [...gone, ...others]) this.#runs.set(other, runs);
    if (former !== undefined) this.#runs.set(id, former);
  }
}
