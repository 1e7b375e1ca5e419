import {
  allPages,
  BerthError,
  type Clock,
  type DocumentStore,
  type StoredDocument,
} from "@berth/service-kit";

const COLLECTION = "commands";
/** Deletions of one transaction at most. */
const MAX_PRUNED = 200;

/** Bounds of a {@link CommandJournal}. */
export interface JournalLimits {
  /** Results that are kept; the oldest acknowledged ones go first. */
  readonly kept: number;
  /** Time that they are kept, ms. */
  readonly keptMs: number;
}

/** Results are kept for 7 days. */
export const JOURNAL_LIMITS: JournalLimits = { kept: 10_000, keptMs: 7 * 24 * 3_600_000 };

/** What came of a command: a JSON text, or why it was not carried out. */
export type CommandResult =
  | { readonly kind: "result"; readonly json: string }
  | { readonly kind: "refusal"; readonly reason: string; readonly message: string };

/** A command that the agent has begun, and its result once there is one. */
export interface JournalEntry {
  /** The command as it came, protobuf in base64, so that a restart can go on with it. */
  readonly command: string;
  /** What the handler keeps with the command; it changes only together with the result. */
  readonly memory: Readonly<Record<string, unknown>>;
  readonly result?: CommandResult;
  /** The control-plane has taken the result in. */
  readonly isAcknowledged: boolean;
}

/** Where a command stands when it is offered. */
export type JournalVerdict =
  | { readonly kind: "begun"; readonly entry: JournalEntry; readonly resumed: boolean }
  | { readonly kind: "done"; readonly result: CommandResult }
  | { readonly kind: "full" };

/** Results and commands that are longer are not kept beyond their acknowledgement. */
const MAX_KEPT_CHARACTERS = 16 * 1024;
/** What is told of a long result to who asks for it once more. */
const NOT_KEPT: CommandResult = {
  kind: "refusal",
  reason: "CONFLICT",
  message: "the command was carried out and answered before; its answer was too long to be kept",
};

/** Opens the durable memory of commands. */
export async function openCommandJournal(deps: {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly clock: Clock;
  readonly limits?: JournalLimits;
}): Promise<CommandJournal> {
  const journal = new CommandJournal(deps);
  await journal.load();
  return journal;
}

interface Known {
  /** Wall clock, ms: of the result, or of the begin before there is one. */
  readonly atMs: number;
  readonly isAcknowledged: boolean;
}

/**
 * The agent's durable memory of commands: the id before it acts, the result for 7 days. A command that the
 * control-plane has not acknowledged is never forgotten, so it is never carried out twice.
 */
export class CommandJournal {
  readonly #store: DocumentStore;
  readonly #orgId: string;
  readonly #clock: Clock;
  readonly #limits: JournalLimits;
  /** All entries, oldest first. */
  readonly #known = new Map<string, Known>();
  /** Commands whose begin is being written. */
  #beginning = 0;

  constructor(deps: Parameters<typeof openCommandJournal>[0]) {
    this.#store = deps.store;
    this.#orgId = deps.orgId;
    this.#clock = deps.clock;
    this.#limits = deps.limits ?? JOURNAL_LIMITS;
  }

  /** Reads what is there; called once. */
  async load(): Promise<void> {
    const found: [string, Known][] = [];
    const collection = { orgId: this.#orgId, collection: COLLECTION };
    const all = allPages<JournalEntry>(this.#store, collection);
    for await (const { id, body, updatedAt } of all) {
      found.push([id, { atMs: Date.parse(updatedAt), isAcknowledged: body.isAcknowledged }]);
    }
    found.sort(([, a], [, b]) => a.atMs - b.atMs);
    for (const [id, known] of found) this.#known.set(id, known);
    await this.#prune();
  }

  /** Commands that are not over: begun without a result, or with one that is not acknowledged. */
  async unfinished(): Promise<readonly { readonly id: string; readonly entry: JournalEntry }[]> {
    const entries: { id: string; entry: JournalEntry }[] = [];
    for (const [id, { isAcknowledged }] of this.#known) {
      if (isAcknowledged) continue;
      const found = await this.#find(id);
      if (found !== undefined) entries.push({ id, entry: found.body });
    }
    return entries;
  }

  /** What is known of a command. The store is read only when there is something to read. */
  async lookUp(id: string): Promise<JournalEntry | undefined> {
    return this.#known.has(id) ? (await this.#find(id))?.body : undefined;
  }

  /**
   * Records that a command begins, durably; `full` when the journal is full of results that nobody has
   * acknowledged. A command that is known goes on where it was. When it rejects, nothing was recorded.
   */
  async begin(id: string, command: string): Promise<JournalVerdict> {
    const known = await this.lookUp(id);
    if (known?.result !== undefined) return { kind: "done", result: known.result };
    if (known !== undefined) return { kind: "begun", entry: known, resumed: true };
    await this.#prune();
    if (this.#known.size + this.#beginning >= this.#limits.kept) return { kind: "full" };
    const entry: JournalEntry = { command, memory: {}, isAcknowledged: false };
    this.#beginning += 1;
    try {
      await this.#write("insert", id, entry);
    } finally {
      this.#beginning -= 1;
    }
    return { kind: "begun", entry, resumed: false };
  }

  /** Records a command's result and what its handler keeps, in one transaction. */
  async finish(
    id: string,
    outcome: Pick<JournalEntry, "memory"> & { readonly result: CommandResult },
  ): Promise<void> {
    const found = await this.#find(id);
    if (found === undefined) throw new BerthError("INTERNAL", `command ${id} was never begun`);
    const { memory, result } = outcome;
    await this.#write("replace", id, { ...found.body, memory, result });
  }

  /** Records that the control-plane has the result, or will never want it. */
  async acknowledge(id: string): Promise<void> {
    const found = await this.#find(id);
    if (found === undefined || found.body.isAcknowledged) return;
    await this.#write("replace", id, shortened({ ...found.body, isAcknowledged: true }));
  }

  async #write(kind: "insert" | "replace", id: string, body: JournalEntry): Promise<void> {
    const key = { orgId: this.#orgId, collection: COLLECTION, id };
    const outcome = await this.#store.apply([{ kind, key, body }]);
    if (outcome.kind === "refused") {
      throw new BerthError("INTERNAL", `command ${id} was not recorded: ${outcome.why}`);
    }
    this.#known.delete(id);
    const atMs = Date.parse(this.#clock.timestamp());
    this.#known.set(id, { atMs, isAcknowledged: body.isAcknowledged });
  }

  /** Forgets acknowledged results beyond their time, or the oldest when there are too many. */
  async #prune(): Promise<void> {
    const oldestMs = Date.parse(this.#clock.timestamp()) - this.#limits.keptMs;
    const gone: [string, Known][] = [];
    for (const [id, known] of this.#known) {
      const size = this.#known.size + this.#beginning - gone.length;
      const isTooMany = size >= this.#limits.kept;
      if (!isTooMany && known.atMs >= oldestMs) break;
      if (known.isAcknowledged) gone.push([id, known]);
      if (gone.length >= MAX_PRUNED) break;
    }
    if (gone.length === 0) return;
    // Before the deletion, so that another call does not delete them again meanwhile.
    for (const [id] of gone) this.#known.delete(id);
    try {
      await this.#remove(gone.map(([id]) => id));
    } catch (thrown) {
      this.#remember(gone);
      throw thrown;
    }
  }

  async #remove(ids: readonly string[]): Promise<void> {
    const key = (id: string) => ({ orgId: this.#orgId, collection: COLLECTION, id });
    const outcome = await this.#store.apply(ids.map((id) => ({ kind: "delete", key: key(id) })));
    if (outcome.kind === "refused") {
      throw new BerthError("INTERNAL", `old commands were not removed: ${outcome.why}`);
    }
  }

  /** Takes up again what is the oldest: it is still there. */
  #remember(oldest: readonly (readonly [string, Known])[]): void {
    const newer = [...this.#known];
    this.#known.clear();
    for (const [id, known] of [...oldest, ...newer]) this.#known.set(id, known);
  }

  #find(id: string): Promise<StoredDocument<JournalEntry> | undefined> {
    return this.#store.get<JournalEntry>({ orgId: this.#orgId, collection: COLLECTION, id });
  }
}

/** What has to be known of a command that nobody waits for any more. */
function shortened(entry: JournalEntry): JournalEntry {
  const { command, result } = entry;
  const isLong = result?.kind === "result" && result.json.length > MAX_KEPT_CHARACTERS;
  return {
    ...entry,
    command: command.length > MAX_KEPT_CHARACTERS ? "" : command,
    ...(isLong ? { result: NOT_KEPT } : {}),
  };
}
