import { randomUUIDv7 } from "node:crypto";
import { BerthError, type Clock, type DocumentStore, type Logger } from "@berth/service-kit";
import type { AgentSession } from "./agent-session.ts";
import { CommandOffers, type OfferedSession } from "./command-offers.ts";
import {
  answered,
  type CommandAnswer,
  type CommandBody,
  type CommandOutcome,
  type CommandRecord,
  type CommandState,
  changesNothing,
  checkDepth,
  type Offer,
  type Order,
  orderOf,
  UNKNOWN_FATE,
  wallTimeLeftMs,
  withoutBody,
} from "./command-record.ts";
import { CommandStore, toRecord } from "./command-store.ts";
import { type PendingCommand, PendingCommands, untilAborted } from "./pending-commands.ts";
import type { StoreFence } from "./store-verdict.ts";

/** A day: what is not answered by then has to be given again. */
const MAX_TIMEOUT_MS = 24 * 3_600_000;

/** Bounds of {@link Commands}. */
export interface CommandLimits {
  /** Commands in flight to one cluster. */
  readonly pendingOfCluster: number;
  /** Commands in flight. */
  readonly pending: number;
  /** Commands that are kept after their answer; the oldest go first. */
  readonly kept: number;
  /** Time that they are kept, ms. */
  readonly keptMs: number;
}

/** A result is kept for 7 days, as agents keep theirs. */
export const COMMAND_LIMITS: CommandLimits = {
  pendingOfCluster: 1_000,
  pending: 20_000,
  kept: 50_000,
  keptMs: 7 * 24 * 3_600_000,
};

/** What {@link openCommands} needs. */
export interface CommandsDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  /** Store id and term that orders are given under, as they are now. */
  readonly fence: () => StoreFence;
  /** Called right behind the writing of each order, which is offered once both are durable. Must not reject. */
  readonly advance: () => Promise<void>;
  /**
   * Begins stretches of the term, one for each order that is about to be offered, and gives their fences once they
   * are durable, and what `beside` writes of them too.
   */
  readonly beginStretches: (
    count: number,
    beside: (fences: readonly StoreFence[]) => Promise<void>,
  ) => Promise<readonly StoreFence[]>;
  /** Why no order is given to a cluster, and what to do; undefined when orders are. */
  readonly refusal: (clusterId: string) => string | undefined;
  /** Whether a cluster has an agent. */
  readonly knows: (clusterId: string) => Promise<boolean>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits?: CommandLimits;
}

/** Opens the durable commands: those without an answer go on where they were. */
export async function openCommands(deps: CommandsDeps): Promise<Commands> {
  const commands = new Commands(deps);
  await commands.load();
  return commands;
}

/**
 * Orders to agents. Each is durable before it is offered, and offered again under the same id on each
 * Commands stream of its cluster until it is answered or its time is over.
 */
export class Commands {
  readonly #deps: CommandsDeps;
  readonly #limits: CommandLimits;
  readonly #stored: CommandStore;
  readonly #pending = new PendingCommands();
  readonly #offers: CommandOffers;

  constructor(deps: CommandsDeps) {
    this.#deps = deps;
    this.#limits = deps.limits ?? COMMAND_LIMITS;
    this.#stored = new CommandStore(deps);
    this.#offers = new CommandOffers({
      ...deps,
      pending: this.#pending,
      stored: this.#stored,
      answer: (id, answer) => this.#answer(id, answer),
    });
  }

  /** Reads the commands without an answer; called once. */
  async load(): Promise<void> {
    for await (const { id, body } of this.#stored.load()) {
      this.#keep(id, body, wallTimeLeftMs(body, this.#deps.clock.timestamp()));
    }
  }

  /**
   * Gives an order and waits for its answer, for `timeoutMs` at most, or until the signal is aborted: then
   * it stays valid. NOT_FOUND for a cluster without an agent, OVERLOADED when too many wait,
   * PRECONDITION_FAILED when the cluster is given no orders.
   */
  async send(
    clusterId: string,
    order: Order,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<CommandOutcome> {
    const { clock, knows, fence, advance, refusal } = this.#deps;
    const { timeoutMs } = options;
    if (!(timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS)) {
      throw new BerthError("INVALID_ARGUMENT", `timeout_ms: expected 1 to ${MAX_TIMEOUT_MS}`);
    }
    if (!(await knows(clusterId))) {
      const details = { cluster_id: clusterId };
      throw new BerthError("NOT_FOUND", `cluster ${clusterId} has no agent`, { details });
    }
    const why = refusal(clusterId);
    if (why !== undefined) throw new BerthError("PRECONDITION_FAILED", why);
    this.#checkRoom(clusterId);
    const commandId = randomUUIDv7();
    const deadlineAt = new Date(Date.parse(clock.timestamp()) + timeoutMs).toISOString();
    const { storeId } = fence();
    const state = "pending" as const;
    const body: CommandBody = { clusterId, order, storeId, state, timeoutMs, deadlineAt };
    const unreserve = this.#pending.reserve(clusterId);
    try {
      await Promise.all([this.#stored.insert(commandId, body), advance()]);
    } finally {
      unreserve();
    }
    const pending = this.#keep(commandId, body, timeoutMs);
    return await untilAborted(pending, options.signal);
  }

  /**
   * Orders for one session, oldest first, each once per call, and the newest term id whenever it is another one
   * than the agent was told. Ends when the signal or the session is aborted. While the cluster is given no
   * orders none is offered, and what waits runs into its deadline unless a later session is offered it.
   */
  offers(session: OfferedSession, signal: AbortSignal): AsyncGenerator<Offer> {
    return this.#offers.to(session, signal);
  }

  /** Tells every open stream the newest term id, in its turn. */
  tellTerm(): void {
    this.#offers.tellTerm();
  }

  /**
   * Refuses what is in flight to an agent that came back with an older memory: it may have carried it
   * out before, and nobody can know. With `isReached` only what was offered under a term id that it does
   * not hold for, and of that not what changes nothing: it is offered again. Nothing else of it is offered once
   * this has been called; durable when it resolves with how many there were, with those that are offered again.
   */
  async agentRestored(
    clusterId: string,
    isReached?: (offeredUnder: string) => boolean,
  ): Promise<number> {
    let again = 0;
    const withdrawn = this.#pending.withdraw(clusterId, ({ offeredUnder, order }) => {
      if (isReached === undefined) return true;
      if (offeredUnder === undefined || isReached(offeredUnder)) return false;
      const isHarmless = changesNothing(order);
      if (isHarmless) again += 1;
      return !isHarmless;
    });
    for (const { id } of withdrawn) await this.#answer(id, UNKNOWN_FATE);
    return withdrawn.length + again;
  }

  /**
   * Takes in an agent's answer; durable when it resolves, and the same again when it comes again.
   * NOT_FOUND for an unknown id, PERMISSION_DENIED for another cluster's, INVALID_ARGUMENT for a result
   * that is nested so deep that it could not be read back.
   */
  async complete(
    session: Pick<AgentSession, "cluster">,
    commandId: string,
    answer: CommandAnswer,
  ): Promise<void> {
    checkDepth(answer);
    const found = await this.#stored.find(commandId);
    if (found === undefined) throw unknownCommand(commandId);
    if (found.body.clusterId !== session.cluster.id) {
      const message = `command_id: command ${commandId} is for another cluster`;
      throw new BerthError("PERMISSION_DENIED", message);
    }
    if (answer.kind === "completed")
      session.cluster.blocks.answered(BigInt(answer.ledgerRevision), this.#deps.clock.nowMs());
    await this.#answer(commandId, answer);
  }

  /** One command; NOT_FOUND when there is none. */
  async get(commandId: string): Promise<CommandRecord> {
    const found = await this.#stored.find(commandId);
    if (found === undefined) throw unknownCommand(commandId);
    return toRecord(found);
  }

  /** Commands that fit, newest first. */
  async list(query: {
    readonly clusterId?: string | undefined;
    readonly state?: CommandState | undefined;
    readonly limit: number;
  }): Promise<readonly CommandRecord[]> {
    const records: CommandRecord[] = [];
    for await (const found of this.#stored.all(true)) {
      if (records.length >= query.limit) break;
      if (query.clusterId !== undefined && found.body.clusterId !== query.clusterId) continue;
      if (query.state === undefined || found.body.state === query.state) {
        records.push(toRecord(found));
      }
    }
    return records;
  }

  /** Forgets answered commands beyond their time or the bound. Called by a timer. */
  prune(): Promise<void> {
    return this.#stored.prune(this.#limits);
  }

  /** Lets waiters go, at shutdown; what is in flight is offered again by the next start. */
  close(): void {
    this.#pending.close();
  }

  #checkRoom(clusterId: string): void {
    const { pendingOfCluster, pending } = this.#limits;
    if (this.#pending.sizeOf(clusterId) >= pendingOfCluster) {
      const message = `cluster ${clusterId} has ${pendingOfCluster} commands without an answer`;
      throw new BerthError("OVERLOADED", message);
    }
    if (this.#pending.size >= pending) {
      throw new BerthError("OVERLOADED", `${pending} commands are without an answer`);
    }
  }

  #keep(id: string, body: CommandBody, timeLeftMs: number): PendingCommand {
    const { clock, logger } = this.#deps;
    return this.#pending.add({
      id,
      clusterId: body.clusterId,
      order: orderOf(body.order),
      storeId: body.storeId,
      offeredUnder: body.offeredUnder,
      deadlineMs: clock.nowMs() + timeLeftMs,
      timeLeftMs,
      onDeadline: () => {
        this.#expire(id).catch((err: unknown) => {
          logger.error("a command's end was not written", { command_id: id, err });
        });
      },
    });
  }

  async #expire(commandId: string): Promise<void> {
    try {
      await this.#stored.change(commandId, (body) => {
        return body.state === "pending" ? { ...withoutBody(body), state: "expired" } : undefined;
      });
    } finally {
      this.#pending.settle({ kind: "expired", commandId });
    }
  }

  async #answer(commandId: string, answer: CommandAnswer): Promise<void> {
    const now = this.#deps.clock.timestamp();
    await this.#stored.change(commandId, (body) => {
      return body.answer === undefined ? answered(body, answer, now) : undefined;
    });
    this.#pending.settle({ ...answer, commandId });
  }
}

function unknownCommand(commandId: string): BerthError {
  const details = { command_id: commandId };
  return new BerthError("NOT_FOUND", `command_id: no command ${commandId}`, { details });
}
