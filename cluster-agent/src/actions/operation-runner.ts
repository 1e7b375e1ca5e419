import { randomUUID } from "node:crypto";
import {
  type BackoffOptions,
  BerthError,
  backoffMs,
  type Clock,
  type Logger,
  type Part,
  Serial,
  sleep,
} from "@berth/service-kit";
import {
  type ActionName,
  type Actions,
  isOver,
  type OperationRecord,
  type OperationState,
  type RunningOperation,
} from "./operation.ts";
import type { OperationBook } from "./operation-book.ts";
import { afterFailure, type Course, errorOf, FinalError } from "./operation-course.ts";
import { isSameRequest } from "./same-input.ts";

/** What is asked for. */
export interface OperationRequest {
  readonly action: ActionName;
  readonly blockId: string;
  readonly inputJson: string;
  /** What the client had asked for, where a pre-check changed it. */
  readonly askedJson?: string;
  readonly plan: Readonly<Record<string, unknown>>;
  /** The operation that asks for it: it is not begun when that one does not go on. */
  readonly parentId?: string;
  readonly idempotencyKey?: string | undefined;
}

/** How long what fails in passing is tried again. */
export interface RetryRules extends BackoffOptions {
  /** Attempts in a row that fail in passing before the operation is undone, or stuck. */
  readonly attempts: number;
}

/** What {@link OperationRunner} needs. */
export interface OperationRunnerDeps {
  readonly book: OperationBook;
  readonly actions: Actions;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Resolves when operations may be done: what runs is known. Rejects when the signal is aborted. */
  readonly ready: (signal: AbortSignal) => Promise<void>;
  /** 10 attempts with delays from 0.5 s to 30 s by default. */
  readonly retry?: RetryRules;
}

const RETRY: RetryRules = { firstMs: 500, capMs: 30_000, attempts: 10 };
/** Operations of one block that wait for each other. */
const MAX_WAITING = 32;
/** Operations that are not over, of all blocks. */
const MAX_OPEN = 1_000;
const PRUNE_INTERVAL_MS = 60_000;

/**
 * Does what is asked of blocks: each operation is written down before anything happens, those of one block are done one
 * after the other, and what a crash has cut off goes on at the next start, to its end or back to its beginning. What
 * can neither go on nor back is `stuck`, and keeps its block until an operator decides.
 */
export class OperationRunner implements Part {
  readonly name = "operations";
  readonly #deps: OperationRunnerDeps;
  readonly #stop = new AbortController();
  /** Operations that are not over, by block, in their order. */
  readonly #open = new Map<string, { readonly serial: Serial; waiting: number }>();
  readonly #done = new Map<string, PromiseWithResolvers<OperationRecord>>();
  /** Why nobody wants an operation any more, of those that are not over. */
  readonly #cancelled = new Map<string, string>();
  readonly #accepting = new Serial();
  #pruning: NodeJS.Timeout | undefined;

  constructor(deps: OperationRunnerDeps) {
    this.#deps = deps;
  }

  async start(): Promise<void> {
    const { book } = this.#deps;
    for (const record of book.list().toReversed()) if (!isOver(record)) this.#enqueue(record);
    const prune = () => void book.prune(Date.parse(this.#deps.clock.timestamp()));
    this.#pruning = setInterval(prune, PRUNE_INTERVAL_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#pruning);
    this.#stop.abort();
    await Promise.all([...this.#open.values()].map(({ serial }) => serial.run(async () => {})));
  }

  /**
   * Accepts an operation: it is durable when this resolves, and will be done. The same idempotency key with the same
   * request gives the operation that is there. ALREADY_EXISTS when the key was used for something else, CONFLICT when an
   * operation of the block is stuck, OVERLOADED when too many wait.
   */
  accept(request: OperationRequest): Promise<OperationRecord> {
    return this.#accepting.run(async () => {
      const known = this.known(request);
      if (known !== undefined) return known;
      this.#refuse(request.blockId);
      const now = this.#deps.clock.timestamp();
      const { idempotencyKey, ...asked } = request;
      const record: OperationRecord = {
        ...asked,
        ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
        id: randomUUID(),
        state: "running",
        step: "accepted",
        progress: { done: 0, total: 0 },
        attempts: 0,
        createdAt: now,
        updatedAt: now,
      };
      await this.#deps.book.insert(record);
      this.#enqueue(record);
      return record;
    });
  }

  /** The operation once it is over or stuck; as it is then when the signal is aborted before. */
  async settled(id: string, signal: AbortSignal): Promise<OperationRecord> {
    const aborted = Promise.withResolvers<void>();
    const onAbort = () => aborted.resolve();
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    const done = this.#done.get(id)?.promise;
    if (done !== undefined) await Promise.race([done, aborted.promise]);
    signal.removeEventListener("abort", onAbort);
    return this.#require(id);
  }

  /** Begins a stuck operation anew. PRECONDITION_FAILED when it is not stuck. */
  retry(id: string): Promise<OperationRecord> {
    return this.#accepting.run(async () => {
      const record = this.#requireStuck(id);
      const state: OperationState = record.error === undefined ? "running" : "undoing";
      const again = this.#changed(record, { state, attempts: 0 });
      await this.#deps.book.replace(again);
      this.#enqueue(again);
      return again;
    });
  }

  /** Gives a stuck operation up: what it has done stays as it is. PRECONDITION_FAILED when it is not stuck. */
  abandon(id: string): Promise<OperationRecord> {
    return this.#accepting.run(async () => {
      const abandoned = this.#changed(this.#requireStuck(id), { state: "abandoned" });
      await this.#deps.book.replace(abandoned);
      return abandoned;
    });
  }

  /**
   * The operation that a request with the same idempotency key and the same content was accepted as; undefined when there
   * is none. ALREADY_EXISTS when the key was used for something else.
   */
  known(request: OperationRequest): OperationRecord | undefined {
    const { idempotencyKey } = request;
    if (idempotencyKey === undefined) return undefined;
    const known = this.#deps.book.withKey(idempotencyKey);
    if (known === undefined || isSameRequest(known, request)) return known;
    const message = `idempotency_key: it was used for another request, operation ${known.id}`;
    throw new BerthError("ALREADY_EXISTS", message);
  }

  #refuse(blockId: string): void {
    const stuck = this.#stuckProblem(blockId);
    if (stuck !== undefined) throw stuck;
    const waiting = this.#open.get(blockId)?.waiting ?? 0;
    if (waiting < MAX_WAITING && this.#done.size < MAX_OPEN) return;
    const what =
      waiting < MAX_WAITING
        ? `${MAX_OPEN} operations`
        : `${MAX_WAITING} operations of block ${JSON.stringify(blockId)}`;
    throw new BerthError("OVERLOADED", `${what} are waiting already; try again later`);
  }

  #stuckProblem(blockId: string): BerthError | undefined {
    const all = this.#deps.book.list();
    const stuck = all.find((one) => one.blockId === blockId && one.state === "stuck");
    if (stuck === undefined) return undefined;
    const { id, action } = stuck;
    const message = `operation ${id} (${action}) of block ${JSON.stringify(blockId)} is stuck: retry or abandon it first`;
    return new BerthError("CONFLICT", message, { details: { operation_id: id } });
  }

  #enqueue(record: OperationRecord): void {
    const { id, blockId } = record;
    if (record.state === "stuck") return;
    const settled = Promise.withResolvers<OperationRecord>();
    this.#done.set(id, settled);
    const turn = this.#open.get(blockId) ?? { serial: new Serial(), waiting: 0 };
    this.#open.set(blockId, turn);
    turn.waiting += 1;
    const run = turn.serial.run(() => this.#carryOut(record));
    void run.then((ended) => {
      turn.waiting -= 1;
      if (turn.waiting === 0) this.#open.delete(blockId);
      this.#done.delete(id);
      this.#cancelled.delete(id);
      settled.resolve(ended);
    });
  }

  /** Never rejects: a store that fails leaves the operation to the next start. */
  async #carryOut(accepted: OperationRecord): Promise<OperationRecord> {
    const { logger, ready } = this.#deps;
    const { signal } = this.#stop;
    let record = accepted;
    try {
      await ready(signal);
      signal.throwIfAborted();
      const stuck = record.attempts === 0 ? this.#stuckProblem(record.blockId) : undefined;
      // What waited behind an operation that is stuck now must not touch its block.
      if (stuck !== undefined) {
        record = this.#changed(record, { state: "failed", error: errorOf(stuck) });
        await this.#deps.book.replace(record);
        return record;
      }
      for (let failures = 0; ; ) {
        const ended = await this.#attempt(record, failures);
        record = ended.record;
        if (isOver(record) || record.state === "stuck") break;
        failures = ended.waits ? failures + 1 : 0;
        if (ended.waits) await sleep(backoffMs(failures, this.#deps.retry ?? RETRY), signal);
        signal.throwIfAborted();
      }
    } catch (err) {
      if (!signal.aborted) logger.error("an operation did not go on", { id: record.id, err });
    }
    return this.#deps.book.get(record.id) ?? record;
  }

  /** One attempt, forward or back; gives the record as it is then written. */
  async #attempt(before: OperationRecord, failures: number): Promise<Course> {
    const { actions, book, logger, retry = RETRY } = this.#deps;
    let record = this.#changed(before, { attempts: before.attempts + 1 });
    let waits = false;
    const at = (step: string, done = 0, total = 0) => {
      record = this.#changed(record, { step, progress: { done, total } });
      book.show(record);
    };
    const { id, blockId, action } = record;
    const operation = this.#running(before, at);
    await book.replace(record);
    try {
      if (record.state === "undoing") {
        await actions[action].undo(operation);
        record = this.#changed(record, { state: "failed" });
      } else {
        const unwanted = operation.whyUnwanted();
        if (unwanted !== undefined) throw new BerthError("CONFLICT", unwanted);
        const result = await actions[action].run(operation);
        const { error: _passed, ...rest } = record;
        const { total } = rest.progress;
        const progress = { done: total, total };
        record = this.#changed(rest, { state: "done", step: "done", progress, result });
      }
    } catch (thrown) {
      operation.signal.throwIfAborted();
      logger.warn("an operation failed", { id, action, block: blockId, err: thrown });
      const course = afterFailure(record, {
        error: errorOf(thrown),
        isLast: thrown instanceof FinalError || failures + 1 >= retry.attempts,
      });
      record = this.#changed(course.record, {});
      waits = course.waits;
    }
    await book.replace(record);
    return { record, waits };
  }

  /** An operation as its action works on it. */
  #running(record: OperationRecord, at: RunningOperation["at"]): RunningOperation {
    const { id, action, blockId, inputJson, plan, attempts, parentId } = record;
    const { book } = this.#deps;
    const isRemoval = (one: OperationRecord) =>
      one.blockId === blockId && one.id !== id && !isOver(one) && endsAll(one);
    return {
      ...{ id, action, blockId, inputJson, plan, at, signal: this.#stop.signal },
      isResumed: attempts > 0,
      isRemovalWaiting: () => book.list().some(isRemoval),
      whyUnwanted: () => {
        const isOrphaned = parentId !== undefined && book.get(parentId)?.state !== "running";
        const orphaned = `operation ${parentId}, which has asked for it, does not go on`;
        return this.#cancelled.get(id) ?? (isOrphaned ? orphaned : undefined);
      },
      cancel: (other, why) => {
        if (this.#done.has(other)) this.#cancelled.set(other, why);
      },
    };
  }

  #changed(record: OperationRecord, change: Partial<OperationRecord>): OperationRecord {
    return { ...record, ...change, updatedAt: this.#deps.clock.timestamp() };
  }

  #require(id: string): OperationRecord {
    const record = this.#deps.book.get(id);
    if (record === undefined)
      throw new BerthError("NOT_FOUND", `no operation ${JSON.stringify(id)}`);
    return record;
  }

  #requireStuck(id: string): OperationRecord {
    const record = this.#require(id);
    if (record.state === "stuck") return record;
    const message = `operation ${id} is ${record.state}: only a stuck one can be retried or abandoned`;
    throw new BerthError("PRECONDITION_FAILED", message);
  }
}

/** Whether an operation ends all that is there, whatever is done there now. */
function endsAll({ action, inputJson }: OperationRecord): boolean {
  if (action !== "remove-node") return action === "remove_block";
  return (JSON.parse(inputJson) as { readonly force?: unknown }).force === true;
}
