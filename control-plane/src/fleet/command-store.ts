import {
  allPages,
  BerthError,
  type Clock,
  type DocumentStore,
  type StoredDocument,
  type Write,
} from "@berth/service-kit";
import { type CommandBody, type CommandRecord, orderOf } from "./command-record.ts";

const COLLECTION = "commands";
/** Commands that are removed in one transaction. */
const PAGE = 200;

/** A command as it lies in the store. */
export type StoredCommand = StoredDocument<CommandBody>;

/** What {@link CommandStore} needs. */
export interface CommandStoreDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly clock: Clock;
}

/** The durable commands of an org, with and without an answer. */
export class CommandStore {
  readonly #deps: CommandStoreDeps;
  #stored = 0;

  constructor(deps: CommandStoreDeps) {
    this.#deps = deps;
  }

  /** Counts what is there, and gives the commands without an answer; read through once, at the start. */
  async *load(): AsyncGenerator<StoredCommand> {
    for await (const found of this.all()) {
      this.#stored += 1;
      if (found.body.state === "pending") yield found;
    }
  }

  /** Every command, oldest first unless `descending`. */
  all(descending = false): AsyncGenerator<StoredCommand> {
    const { store, orgId } = this.#deps;
    return allPages(store, { orgId, collection: COLLECTION }, { descending });
  }

  /** One command; undefined when there is none. */
  find(commandId: string): Promise<StoredCommand | undefined> {
    return this.#deps.store.get<CommandBody>(this.#key(commandId));
  }

  /** Keeps a new command. */
  async insert(commandId: string, body: CommandBody): Promise<void> {
    const key = this.#key(commandId);
    const outcome = await this.#deps.store.apply([{ kind: "insert", key, body }]);
    if (outcome.kind === "refused") throw new BerthError("INTERNAL", "a command id came twice");
    this.#stored += 1;
  }

  /** Replaces a command's body, again when another change came between; undefined keeps it. */
  async change(
    commandId: string,
    change: (body: CommandBody) => CommandBody | undefined,
  ): Promise<void> {
    for (;;) {
      const found = await this.find(commandId);
      const body = found && change(found.body);
      if (found === undefined || body === undefined) return;
      const key = this.#key(commandId);
      const write = { kind: "replace", key, body, ifRevision: found.revision } as const;
      const outcome = await this.#deps.store.apply([write]);
      if (outcome.kind === "applied") return;
    }
  }

  /** Forgets answered commands that are older than `keptMs` or more than `kept`, oldest first. */
  async prune({ kept, keptMs }: { readonly kept: number; readonly keptMs: number }): Promise<void> {
    const oldest = Date.parse(this.#deps.clock.timestamp()) - keptMs;
    let writes: Write[] = [];
    for await (const { id, body, createdAt } of this.all()) {
      // Ids begin with their time, so behind the first that may stay all may.
      const isTooMany = this.#stored - writes.length > kept;
      if (!isTooMany && Date.parse(createdAt) >= oldest) break;
      if (body.state !== "pending") writes.push({ kind: "delete", key: this.#key(id) });
      if (writes.length < PAGE) continue;
      await this.#remove(writes);
      writes = [];
    }
    if (writes.length > 0) await this.#remove(writes);
  }

  async #remove(writes: readonly Write[]): Promise<void> {
    const outcome = await this.#deps.store.apply(writes);
    if (outcome.kind === "applied") this.#stored -= writes.length;
  }

  #key(id: string) {
    return { orgId: this.#deps.orgId, collection: COLLECTION, id };
  }
}

/** A stored command for those who ask. */
export function toRecord({ id, body, createdAt }: StoredCommand): CommandRecord {
  return { ...body, order: orderOf(body.order), commandId: id, createdAt };
}
