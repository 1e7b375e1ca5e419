import {
  backoffMs,
  type Clock,
  type Logger,
  type Principal,
  sleep,
  toBerthError,
} from "@berth/service-kit";
import { askAgent, type Refusal } from "../allocation/agent-asking.ts";
import type { AgentApi, FleetBlocks } from "../fleet/agent-api.ts";
import { requestCreation } from "./block-creation.ts";
import type { BlockHomes } from "./block-homes.ts";
import type { ClusterScout, Scouted } from "./cluster-scout.ts";
import { releaseLeases } from "./lease-clerk.ts";
import { askedOperation, settledOperation, untilTold } from "./operation-watch.ts";
import { PlaceLeasing } from "./place-leasing.ts";
import type { PlacementBook } from "./placement-book.ts";
import * as course from "./placement-course.ts";
import {
  attemptOf,
  isOver,
  type PlacementAttempt,
  type PlacementRecord,
} from "./placement-record.ts";
import { type PlacementRequest, readStoredWanted } from "./placement-request.ts";
import { withReturning } from "./returning-clusters.ts";
import { Turns } from "./turns.ts";

/** What {@link PlacementRunner} needs. */
export interface PlacementRunnerDeps {
  readonly agents: AgentApi;
  readonly blocks: FleetBlocks;
  readonly scout: ClusterScout;
  readonly book: PlacementBook;
  readonly homes: Pick<BlockHomes, "note">;
  readonly principal: Principal;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Time for which a cluster that may hold something of a block is waited for, ms; 10 min by default. */
  readonly lostAfterMs?: number | undefined;
}

/** Placements that look at the fleet at a time; those whose policies may be slow have turns of their own. */
const LOOKING_AT_ONCE = 16;
const LOST_AFTER_MS = 600_000;
const RETRY = { firstMs: 200, capMs: 5_000 } as const;
const WATCH_MS = 5_000;
/** Time in which agents come back to a control-plane that was started anew, ms. */
const RETURN_MS = 20_000;
const RETURN_LOOK_MS = 250;
/** The same while those who are back are asked at each look, ms. */
const RETURN_ASK_MS = 1_000;
/** Pause before clusters that were heard a moment ago are looked at again, ms; times the round. */
const AWAY_PAUSE_MS = 5_000;
const WAITS_FOR_RETURN = "the clusters to come back after the start of the control-plane";
/** Longest wait for the view of a cluster to show a block that is there, ms. */
const SHOWN_MS = 2_000;

/** One run of a placement. */
interface Run {
  readonly request: PlacementRequest;
  readonly signal: AbortSignal;
  /** Failures of the store or of this program in a row. */
  failures: number;
  /** Since when the cluster has not told what became of the block; undefined while it tells. */
  lostSinceMs: number | undefined;
}

/**
 * Carries placements out, one step after the other: before each of them it is written down what it is, and each may be
 * done again. So a placement goes on from its record alone, whatever ended the run before.
 */
export class PlacementRunner {
  readonly #deps: PlacementRunnerDeps;
  readonly #looking = { plain: new Turns(LOOKING_AT_ONCE), slow: new Turns(LOOKING_AT_ONCE) };
  readonly #leasing: PlaceLeasing;
  readonly #startedAtMs: number;

  constructor(deps: PlacementRunnerDeps) {
    this.#deps = deps;
    this.#startedAtMs = deps.clock.nowMs();
    this.#leasing = new PlaceLeasing(deps.agents, (record) => this.#save(record));
  }

  /** Goes on until it is over or stuck; gives the record as it is then. Rejects only with the signal's reason. */
  async carryOn(id: string, signal: AbortSignal): Promise<PlacementRecord> {
    let record = this.#record(id);
    const request = readStoredWanted(record.requestJson ?? "{}");
    const run: Run = { request, signal, failures: 0, lostSinceMs: undefined };
    while (!isOver(record) && record.phase !== "stuck") {
      try {
        record = await this.#step(record, run);
        run.failures = 0;
      } catch (thrown) {
        signal.throwIfAborted();
        run.failures += 1;
        this.#deps.logger.error("a step of a placement failed", { placement: id, err: thrown });
        await sleep(backoffMs(run.failures, RETRY), signal);
        signal.throwIfAborted();
        record = this.#record(id);
      }
    }
    return record;
  }

  #step(record: PlacementRecord, run: Run): Promise<PlacementRecord> {
    switch (record.phase) {
      case "choosing":
        return this.#choose(record, run);
      case "leasing":
        return this.#leasing.lease(record, run);
      case "creating":
        return this.#create(record, run);
      default:
        return this.#watch(record, run);
    }
  }

  async #choose(record: PlacementRecord, { request, signal }: Run): Promise<PlacementRecord> {
    const { scout, principal } = this.#deps;
    if (record.round > 0) await sleep(pauseMs(record), signal);
    const look = () => scout.scout(principal, request, signal);
    const looking = request.runsPolicies ? this.#looking.slow : this.#looking.plain;
    try {
      const scouted = this.#withReturning(await looking.run(look, signal), request);
      if (this.#mayReturn(scouted)) {
        const isAsking = scouted.refused.some(({ step }) => step !== "view");
        await sleep(isAsking ? RETURN_ASK_MS : RETURN_LOOK_MS, signal);
        if (record.waitsFor === WAITS_FOR_RETURN) return record;
        return await this.#save({ ...record, waitsFor: WAITS_FOR_RETURN });
      }
      return await this.#save(course.afterLook(record, scouted));
    } catch (thrown) {
      signal.throwIfAborted();
      const { reason, message } = toBerthError(thrown);
      if (reason === "INTERNAL") {
        this.#deps.logger.error("a placement could not be decided", { err: thrown });
      }
      return this.#save(course.endedBy(record, { reason, message }));
    }
  }

  /** This program has not run for long, nobody who is there takes it, and others may still be on their way back. */
  #mayReturn({ ranked, refused }: Scouted): boolean {
    if (!this.#isEarly() || ranked.length > 0 || refused.some(course.isFinal)) return false;
    const isNobodyThere = refused.every(
      ({ step, reason }) => step === "view" && reason !== "UNSCHEDULABLE",
    );
    return isNobodyThere || refused.some(({ mayReturn }) => mayReturn);
  }

  #withReturning(scouted: Scouted, { selection }: PlacementRequest): Scouted {
    const { refused, found } = scouted;
    const marked = withReturning(refused, {
      ...{ selection, known: this.#deps.book.knownClusters, isEarly: this.#isEarly() },
      ...{ viewOf: (id) => found.sight.get(id), nowMs: this.#deps.clock.nowMs() },
    });
    return { ...scouted, refused: marked };
  }

  #isEarly(): boolean {
    return this.#deps.clock.nowMs() - this.#startedAtMs < RETURN_MS;
  }

  async #create(before: PlacementRecord, run: Run): Promise<PlacementRecord> {
    const { request, signal } = run;
    const { sends } = attemptOf(before);
    const attempt = { ...attemptOf(before), sends: sends + 1 };
    const { blockId, entryJson } = request;
    const { clusterId } = attempt;
    const [record] = await Promise.all([
      this.#save({ ...before, phase: "creating", current: attempt }),
      this.#deps.homes.note({ clusterId, blockId }),
    ]);
    const outcome = await requestCreation(this.#deps, { attempt, blockId, entryJson }, signal);
    if (outcome.kind === "accepted") {
      run.lostSinceMs = undefined;
      return this.#save(course.accepted(record, outcome.operationId));
    }
    if (outcome.kind === "refused") {
      this.#release(attempt);
      return this.#refused(record, "create", outcome.refusal);
    }
    const why = `cluster ${clusterId} did not say whether it makes the block: ${outcome.error.message}`;
    const waiting = await this.#lost(record, why, run);
    if (waiting.phase !== "stuck") await this.#pause(clusterId, sends, signal);
    return waiting;
  }

  async #watch(record: PlacementRecord, run: Run): Promise<PlacementRecord> {
    const { blocks, agents } = this.#deps;
    const { clusterId, operationId = "" } = attemptOf(record);
    const watched = { clusterId, operationId };
    const limits = { timeoutMs: WATCH_MS, signal: run.signal };
    const operation = await settledOperation(this.#deps, watched, limits);
    if (operation !== undefined) {
      switch (operation.state) {
        case "done":
          return this.#finish(record, run);
        case "failed": {
          const { reason = "INTERNAL", message = "it failed" } = operation.error ?? {};
          this.#release(attemptOf(record));
          return this.#refused(record, "run", { reason, message, details: {} });
        }
        case "stuck": {
          const why = `operation ${operationId} of cluster ${clusterId} is stuck`;
          return this.#save(course.stuck(record, `${why}: retry or abandon it, then retry this`));
        }
        case "abandoned": {
          const message = `operation ${operationId} of cluster ${clusterId} was abandoned: what it did stays`;
          return this.#save(course.endedBy(record, { reason: "CONFLICT", message }));
        }
      }
    }
    const unreachable = `cluster ${clusterId} makes the block, and is unreachable now`;
    if (blocks.of(clusterId)?.isLive !== true) return this.#lost(record, unreachable, run);
    if (operation !== undefined) return this.#heard(record, run);
    const asked = await askedOperation(agents, watched, run.signal);
    if (asked.kind === "silent") return this.#lost(record, unreachable, run);
    if (asked.kind === "told") return this.#heard(record, run);
    return this.#afterForgotten(record, run);
  }

  /** The cluster does not know the operation: its memory is older, or the operation was over long ago. */
  async #afterForgotten(record: PlacementRecord, run: Run): Promise<PlacementRecord> {
    const { clusterId } = attemptOf(record);
    const path = `/blocks/${encodeURIComponent(record.blockId)}`;
    const options = { timeoutMs: WATCH_MS, signal: run.signal };
    const asked = await askAgent(this.#deps.agents, { clusterId, method: "GET", path }, options);
    if (asked.kind === "done") return this.#finish(record, run);
    if (asked.kind === "refused" && asked.refusal.reason === "NOT_FOUND") {
      return this.#save(course.forgotten(record));
    }
    return this.#lost(record, `cluster ${clusterId} does not say what it has of the block`, run);
  }

  /** Whoever is told that it is done finds it in the fleet's blocks. */
  async #finish(record: PlacementRecord, { signal }: Run): Promise<PlacementRecord> {
    const { clusterId } = attemptOf(record);
    const look = (told: ReturnType<FleetBlocks["of"]>) => told?.blocks.get(record.blockId);
    const limits = { timeoutMs: SHOWN_MS, signal };
    await untilTold(this.#deps.blocks, { clusterId, look }, limits);
    return this.#save(course.done(record));
  }

  #refused(
    record: PlacementRecord,
    step: "create" | "run",
    { reason, message }: Refusal,
  ): Promise<PlacementRecord> {
    return this.#save(course.afterRefusal(record, { step, reason, message }));
  }

  /** What the cluster holds of the block is not known: no other one is tried; after too long it is stuck. */
  async #lost(record: PlacementRecord, why: string, run: Run): Promise<PlacementRecord> {
    const { clock, lostAfterMs = LOST_AFTER_MS } = this.#deps;
    run.lostSinceMs ??= clock.nowMs();
    if (clock.nowMs() - run.lostSinceMs >= lostAfterMs)
      return this.#save(course.stuck(record, why));
    return record.waitsFor === why ? record : this.#save({ ...record, waitsFor: why });
  }

  async #heard(record: PlacementRecord, run: Run): Promise<PlacementRecord> {
    run.lostSinceMs = undefined;
    const { waitsFor, ...rest } = record;
    return waitsFor === undefined ? record : this.#save(rest);
  }

  /** Ends early when the cluster tells something. */
  async #pause(clusterId: string, failures: number, signal: AbortSignal): Promise<void> {
    const before = this.#deps.blocks.of(clusterId)?.isLive ?? false;
    const look = (told: ReturnType<FleetBlocks["of"]>) =>
      (told?.isLive ?? false) !== before || undefined;
    const timeoutMs = backoffMs(failures + 1, RETRY);
    await untilTold(this.#deps.blocks, { clusterId, look }, { timeoutMs, signal });
  }

  /** Beside what comes next: what is not given back ends by itself. */
  #release({ clusterId, leaseIds }: PlacementAttempt): void {
    void releaseLeases(this.#deps.agents, { clusterId, leaseIds });
  }

  async #save(record: PlacementRecord): Promise<PlacementRecord> {
    const written = { ...record, updatedAt: this.#deps.clock.timestamp() };
    await this.#deps.book.replace(written);
    return written;
  }

  #record(id: string): PlacementRecord {
    const record = this.#deps.book.get(id);
    if (record === undefined) throw new Error(`there is no placement ${id}`);
    return record;
  }
}

/** Between two looks at the fleet, ms. */
function pauseMs({ round, waitsFor }: PlacementRecord): number {
  if (waitsFor === course.WAITS_FOR_CLUSTERS) return AWAY_PAUSE_MS * round;
  return backoffMs(round, RETRY);
}
