import { createHash, randomUUIDv7 } from "node:crypto";
import {
  BerthError,
  type Clock,
  type Logger,
  type Part,
  type Principal,
  Serial,
} from "@berth/service-kit";
import type { DecisionLog } from "../allocation/decisions/decision-log.ts";
import type { FleetBlocks } from "../fleet/agent-api.ts";
import type { BlockCharges } from "../org/charges/block-charges.ts";
import type { PolicyRegistry } from "../policies/policy-registry.ts";
import { type BlockHomes, notHeard } from "./block-homes.ts";
import { canonicalJson } from "./canonical-json.ts";
import type { PlacementBook } from "./placement-book.ts";
import * as course from "./placement-course.ts";
import { placementDecision } from "./placement-decision.ts";
import {
  isOver,
  type PlacementPhase,
  type PlacementRecord,
  triedDocument,
} from "./placement-record.ts";
import { mannersOf, readStoredWanted, readWanted, wantedOf } from "./placement-request.ts";
import type { PlacementRunner } from "./placement-runner.ts";

/** What {@link Placements} needs. */
export interface PlacementsDeps {
  readonly book: PlacementBook;
  readonly runner: PlacementRunner;
  readonly blocks: FleetBlocks;
  readonly homes: Pick<BlockHomes, "unheard">;
  readonly charges: Pick<BlockCharges, "charge" | "settle">;
  readonly policies: Pick<PolicyRegistry, "runnable">;
  readonly decisions: Pick<DecisionLog, "record">;
  readonly orgId: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Which placements {@link Placements.list} gives. */
export interface PlacementQuery {
  readonly blockId?: string | undefined;
  readonly phase?: PlacementPhase | undefined;
  readonly limit: number;
}

/** Placements that are not over, at most. */
const MAX_OPEN = 1_000;
/** Characters of a block's entry: a link carries no more. */
const MAX_ENTRY = 1024 * 1024;
/** Characters of all that is asked for of one placement. */
const MAX_REQUEST = 2 * 1024 * 1024;
/** Characters of what is asked for of all placements that are not over: they are in memory and in the store. */
const MAX_OPEN_REQUESTS = 32 * 1024 * 1024;
const PRUNE_INTERVAL_MS = 60_000;

/**
 * Places blocks on clusters. What was accepted is durable and goes on over restarts to one of its ends: the block is on
 * exactly one cluster, or on none, or it is `stuck`, visibly, because nobody knows.
 */
export class Placements implements Part {
  readonly name = "placements";
  readonly #deps: PlacementsDeps;
  readonly #stop = new AbortController();
  readonly #running = new Map<string, Promise<PlacementRecord>>();
  readonly #accepting = new Serial();
  #pruning: NodeJS.Timeout | undefined;

  constructor(deps: PlacementsDeps) {
    this.#deps = deps;
  }

  async start(): Promise<void> {
    for (const { id, phase } of this.#deps.book.open()) if (phase !== "stuck") this.#run(id);
    this.#pruning = setInterval(() => this.#prune(), PRUNE_INTERVAL_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#pruning);
    this.#stop.abort(new BerthError("CANCELED", "the control-plane stops"));
    await Promise.allSettled(this.#running.values());
  }

  /**
   * Accepts the block in a body and places it; gives the placement once it is over or stuck, or as it is when the client's
   * time is over or its signal aborted: it goes on then. INVALID_ARGUMENT names the field; PAYLOAD_TOO_LARGE for what no
   * cluster takes; ALREADY_EXISTS when a cluster has a block of this id, or when the idempotency key was used for something
   * else; CONFLICT while the block is being placed; OVERLOADED when too many are.
   */
  async place(
    principal: Principal,
    body: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<PlacementRecord> {
    const { waitMs, idempotencyKey } = mannersOf(body);
    const wanted = wantedOf(body);
    const { ranking, blockId, entryJson } = readWanted(wanted);
    checkSize("block_data", entryJson.length, MAX_ENTRY);
    const requestJson = JSON.stringify(wanted);
    checkSize("the request", requestJson.length, MAX_REQUEST);
    if (ranking !== undefined) {
      await this.#deps.policies.runnable(principal.orgId, ranking.policyRuleUri);
    }
    const requestDigest = createHash("sha256").update(canonicalJson(wanted)).digest("hex");
    const asked = { blockId, requestJson, requestDigest, idempotencyKey };
    const { id } = await this.#accepting.run(() => this.#accept(asked));
    if (waitMs > 0) await this.#settled(id, AbortSignal.any([signal, AbortSignal.timeout(waitMs)]));
    return this.get(id);
  }

  /** One placement; NOT_FOUND when there is none. */
  get(id: string): PlacementRecord {
    const record = this.#deps.book.get(id);
    if (record !== undefined) return record;
    throw new BerthError("NOT_FOUND", `no placement ${JSON.stringify(id.slice(0, 100))}`);
  }

  /** The newest first. */
  list({ blockId, phase, limit }: PlacementQuery): readonly PlacementRecord[] {
    return this.#deps.book
      .list()
      .filter((one) => blockId === undefined || one.blockId === blockId)
      .filter((one) => phase === undefined || one.phase === phase)
      .slice(0, limit);
  }

  /** The placement of a block that is not over; undefined when there is none. */
  openOf(blockId: string): PlacementRecord | undefined {
    return this.#deps.book.openOf(blockId);
  }

  /** Has a stuck placement go on where it was. PRECONDITION_FAILED when it is not stuck. */
  retry(id: string): Promise<PlacementRecord> {
    return this.#accepting.run(async () => {
      const again = this.#touched(course.retried(this.#stuck(id)));
      await this.#deps.book.replace(again);
      this.#run(id);
      return again;
    });
  }

  /** Gives a stuck placement up: what its cluster did stays as it is. PRECONDITION_FAILED when it is not stuck. */
  abandon(id: string): Promise<PlacementRecord> {
    return this.#accepting.run(async () => {
      const given = this.#stuck(id);
      const record = this.#touched(course.abandoned(given));
      await this.#deps.book.replace(record);
      this.#decided(record, given.requestJson);
      return record;
    });
  }

  async #accept(asked: {
    readonly blockId: string;
    readonly requestJson: string;
    readonly requestDigest: string;
    readonly idempotencyKey: string | undefined;
  }): Promise<PlacementRecord> {
    const { book, clock } = this.#deps;
    const { blockId, idempotencyKey, ...request } = asked;
    const known = idempotencyKey === undefined ? undefined : book.withKey(idempotencyKey);
    if (known !== undefined) return same(known, request.requestDigest);
    this.#refuse(blockId, request.requestJson);
    const now = clock.timestamp();
    const record: PlacementRecord = {
      ...{ id: randomUUIDv7(), blockId, ...request },
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
      ...{ phase: "choosing", round: 0, attempts: 0 },
      ...{ queue: [], tried: [], triedMore: 0, warnings: [] },
      ...{ decisionId: randomUUIDv7(), createdAt: now, updatedAt: now },
    };
    const { need } = readStoredWanted(request.requestJson);
    const charged = { blockId, instances: need.planned, operationId: record.id };
    await this.#deps.charges.charge(charged, book.insertion(record));
    this.#run(record.id);
    return record;
  }

  #refuse(blockId: string, requestJson: string): void {
    const { book, blocks, homes } = this.#deps;
    const name = JSON.stringify(blockId);
    const open = book.openOf(blockId);
    if (open !== undefined) {
      const message = `block ${name} is being placed already: placement ${open.id} is ${open.phase}`;
      throw new BerthError("CONFLICT", message, { details: { placement_id: open.id } });
    }
    const clusters = blocks.withBlock(blockId).map(({ clusterId }) => clusterId);
    if (clusters.length > 0) {
      const where = clusters.join(", ");
      const details = { cluster_ids: clusters };
      throw new BerthError("ALREADY_EXISTS", `block ${name} is on cluster ${where}`, { details });
    }
    const unheard = homes.unheard(blockId);
    if (unheard.length > 0) throw notHeard(`block ${name} was on`, unheard);
    const all = book.open();
    const characters = all.reduce((sum, one) => sum + (one.requestJson?.length ?? 0), 0);
    const isFull = characters + requestJson.length > MAX_OPEN_REQUESTS;
    if (all.length < MAX_OPEN && !isFull) return;
    throw new BerthError("OVERLOADED", `${all.length} blocks are being placed; try again later`);
  }

  #run(id: string): void {
    const { runner, book, logger } = this.#deps;
    const requestJson = book.get(id)?.requestJson;
    const run = runner.carryOn(id, this.#stop.signal);
    this.#running.set(id, run);
    const end = async () => {
      try {
        const record = await run;
        if (isOver(record)) this.#decided(record, requestJson);
        if (isOver(record) && record.phase !== "done") await this.#release(record);
      } catch (err) {
        if (!this.#stop.signal.aborted) logger.error("a placement did not go on", { id, err });
      } finally {
        if (this.#running.get(id) === run) this.#running.delete(id);
      }
    };
    void end();
  }

  async #settled(id: string, signal: AbortSignal): Promise<void> {
    const run = this.#running.get(id);
    if (run === undefined || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const onAbort = () => resolve();
    signal.addEventListener("abort", onAbort, { once: true });
    await Promise.race([run.catch(() => undefined), promise]);
    signal.removeEventListener("abort", onAbort);
  }

  /** A placement that came to nothing has nothing that is charged. */
  async #release({ id, blockId }: PlacementRecord): Promise<void> {
    await this.#deps.charges.settle({ blockId, operationId: id }, "failed");
  }

  #decided(record: PlacementRecord, requestJson: string | undefined): void {
    const { decisions, orgId } = this.#deps;
    if (requestJson === undefined) return;
    const request = readStoredWanted(requestJson);
    decisions.record(orgId, placementDecision(record, request));
  }

  #prune(): void {
    const { book, clock, logger } = this.#deps;
    book.prune(Date.parse(clock.timestamp())).catch((err: unknown) => {
      logger.warn("old placements were not forgotten", { err });
    });
  }

  #stuck(id: string): PlacementRecord {
    const record = this.get(id);
    if (record.phase === "stuck") return record;
    const message = `placement ${id} is ${record.phase}: only a stuck one can be retried or abandoned`;
    throw new BerthError("PRECONDITION_FAILED", message);
  }

  #touched(record: PlacementRecord): PlacementRecord {
    return { ...record, updatedAt: this.#deps.clock.timestamp() };
  }
}

/** The error that a placement ended with, or stands still at; undefined when it is done or goes on. */
export function placementError(record: PlacementRecord): BerthError | undefined {
  const { id, error, phase, waitsFor, tried, decisionId } = record;
  const details = {
    ...{ placement_id: id, decision_id: decisionId },
    clusters: tried.map(triedDocument),
  };
  if (error !== undefined) return new BerthError(error.reason, error.message, { details });
  if (phase === "abandoned") {
    return new BerthError("CANCELED", `placement ${id} was abandoned`, { details });
  }
  if (phase !== "stuck") return undefined;
  const why = waitsFor ?? "nobody knows what became of it";
  return new BerthError("UNAVAILABLE", `placement ${id} is stuck: ${why}`, { details });
}

function checkSize(field: string, length: number, most: number): void {
  if (length <= most) return;
  const message = `${field}: expected at most ${most} characters of JSON, got ${length}`;
  throw new BerthError("PAYLOAD_TOO_LARGE", message);
}

function same(known: PlacementRecord, requestDigest: string): PlacementRecord {
  if (known.requestDigest === requestDigest) return known;
  const message = `idempotency_key: it was used for another request, placement ${known.id}`;
  throw new BerthError("ALREADY_EXISTS", message, { details: { placement_id: known.id } });
}
