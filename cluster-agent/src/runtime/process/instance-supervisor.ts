import { backoffMs, sleep } from "@berth/service-kit";
import type { InstancePhase, ObservedInstance, Ownership } from "../runtime.ts";
import type { Changes } from "./changes.ts";
import { endProcesses } from "./end-processes.ts";
import { instanceEnvironment } from "./environment.ts";
import { type Health, unready } from "./health-verdict.ts";
import { InstanceBook } from "./instance-book.ts";
import type { KeptInstance } from "./instance-files.ts";
import type { InstanceRecord, KnownProcess } from "./instance-record.ts";
import {
  instanceProcesses,
  isSameProcess,
  mainProcess,
  type ProcessEntry,
  type ProcessLook,
} from "./kinship.ts";
import { observedInstance } from "./observed-instance.ts";
import type { ProcessDeps } from "./process-deps.ts";
import { failuresAfter, restartDelayMs } from "./restart-delay.ts";
import { startProgram } from "./start-program.ts";
import { watchProgram } from "./watch-program.ts";

/** Of an instance that ends with the agent: a program has 8 s to stop. */
const HALT_GRACE_MS = 2_000;
const HALT_LIMIT_MS = 3_000;

const NOT_CHECKED = unready("its health has not been checked yet");

/** A process that this object started. */
interface Child {
  readonly process: KnownProcess;
  readonly ended: Promise<string>;
}

/**
 * Brings one instance to what its record says, and keeps it there: looks what runs of it, ends what should not, starts
 * what should, and looks again when that ends. Every step starts from what is seen, so that it does not matter where an
 * earlier agent was killed.
 */
export class InstanceSupervisor {
  readonly #deps: ProcessDeps;
  readonly #changes: Changes;
  readonly #book: InstanceBook;
  /** Ends what a step waits for, since the record has changed. */
  #wake = new AbortController();
  #main: KnownProcess | undefined;
  #child: Child | undefined;
  #health: Health = NOT_CHECKED;
  #trouble: string | undefined;
  #failures: number;
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  /** Nothing runs of a former spec. */
  #isCurrent: boolean;
  #mustMove = false;
  #isGone = false;

  constructor(kept: KeptInstance, deps: ProcessDeps, changes: Changes) {
    this.#deps = deps;
    this.#changes = changes;
    this.#book = new InstanceBook(kept, deps);
    this.#failures = this.#book.state?.failures ?? 0;
    this.#isCurrent = !this.#book.hasFormer;
  }

  /** What shall run. */
  get record(): InstanceRecord {
    return this.#book.record;
  }

  /** Nothing of it is left, neither process nor file. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /** The instance as it was seen last. */
  observed(): ObservedInstance {
    return observedInstance({
      record: this.record,
      phase: this.#phase(),
      restarts: this.#book.state?.restarts ?? 0,
      pid: this.#main?.pid,
      health: this.#health,
      trouble: this.#trouble,
    });
  }

  /** Takes over what an earlier agent left running, before {@link supervise}. */
  adopt(entries: readonly ProcessEntry[]): void {
    this.#main = this.#mainAmong(entries);
  }

  /** Takes note of the instance's processes of a look. */
  async remember(look: ProcessLook): Promise<void> {
    if (this.#main !== undefined) await this.#book.rememberKin(look);
  }

  /** Supervises until the instance is gone, which it tells, or the supervision is stopped. Never rejects. */
  async supervise(onGone: () => void): Promise<void> {
    const { stopped, rules, logger } = this.#deps;
    for (let failures = 1; !this.#isGone && !stopped.aborted; failures += 1) {
      const signal = AbortSignal.any([stopped, this.#wake.signal]);
      try {
        await this.#step(signal, onGone);
        failures = 0;
      } catch (err) {
        if (stopped.aborted) return;
        logger.warn("an instance is not as it should be", { ...this.#fields(), err });
        this.#trouble = err instanceof Error ? err.message.slice(0, 300) : "it failed";
        this.#changes.tell();
        await sleep(backoffMs(failures, rules.restart), signal);
      }
    }
  }

  /** The same program by another order: nothing is started again. Durable when it resolves. */
  async own(ownership: Ownership): Promise<void> {
    await this.#book.update((record) => ({ ...record, spec: { ...record.spec, ownership } }));
    this.#changes.tell();
  }

  /** Another program under the same id. Durable when it resolves; {@link untilCurrent} says when the former one is gone. */
  async replace(next: Pick<InstanceRecord, "spec" | "specDigest">): Promise<void> {
    await this.#book.update((record) => ({ ...record, ...next }));
    this.#isCurrent = false;
    this.#failures = 0;
    this.#notBeforeMs = Number.NEGATIVE_INFINITY;
    this.#nudge();
  }

  /** Begins the end; {@link untilGone} says when nothing is left. */
  async remove(): Promise<void> {
    if (this.record.isRemoved) return;
    await this.#book.markRemoved();
    this.#nudge();
  }

  /** Ends what runs, once the supervision is stopped; the next one starts it again. Never rejects. */
  async halt(): Promise<void> {
    const { table, own, rules, logger } = this.#deps;
    const graceMs = Math.min(rules.graceMs, HALT_GRACE_MS);
    const signal = AbortSignal.timeout(graceMs + HALT_LIMIT_MS);
    try {
      await endProcesses({ table, own, kin: this.#book.kin, graceMs, signal });
    } catch (err) {
      logger.warn("an instance outlives its agent", { ...this.#fields(), err });
    }
  }

  /** Resolves when nothing runs of a former spec. */
  untilCurrent(signal: AbortSignal): Promise<void> {
    return this.#changes.until(() => this.#isCurrent || this.#isGone, signal);
  }

  /** Resolves when nothing is left of the instance. */
  untilGone(signal: AbortSignal): Promise<void> {
    return this.#changes.until(() => this.#isGone, signal);
  }

  async #step(signal: AbortSignal, onGone: () => void): Promise<void> {
    if (this.record.isRemoved) return await this.#finish(onGone);
    const delayMs = this.#notBeforeMs - this.#deps.clock.nowMs();
    if (delayMs > 0) await sleep(delayMs, signal);
    if (signal.aborted) return;
    if (!this.#mustMove) {
      const main = this.#mainAmong(await this.#deps.table.scan());
      if (main !== undefined) return await this.#watch(main, signal);
    }
    await this.#end();
    this.#isCurrent = !signal.aborted;
    this.#changes.tell();
    if (!signal.aborted) await this.#start(signal);
  }

  async #start(signal: AbortSignal): Promise<void> {
    const { clusterId, runtimeId, own, workingDir, files, ports } = this.#deps;
    await this.#book.usablePorts(ports, this.#mustMove);
    this.#mustMove = false;
    const { spec } = this.record;
    const startId = await this.#book.beginStart(this.#failures);
    const facts = { clusterId, runtimeId, startId, ports: this.record.ports };
    const outcome = await startProgram({
      command: spec.command ?? [],
      environment: instanceEnvironment(spec, facts, own.env),
      logFile: files.logFile(spec),
      workingDir,
      isWanted: () => !signal.aborted,
    });
    if (outcome.kind === "unwanted") return;
    this.#health = NOT_CHECKED;
    if (outcome.kind === "started") {
      this.#child = { process: outcome.process, ended: outcome.ended };
      return await this.#watch(outcome.process, signal);
    }
    await this.#book.noteStart(undefined);
    this.#ended(outcome.message, 0);
  }

  async #watch(main: KnownProcess, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const beganMs = clock.nowMs();
    this.#main = main;
    this.#isCurrent = true;
    this.#trouble = undefined;
    await this.#book.noteStart(main);
    this.#changes.tell();
    const child = this.#child;
    const ended =
      child !== undefined && isSameProcess(child.process, main) ? child.ended : undefined;
    const onHealth = (health: Health) => this.#hear(health);
    const watched = { main, kin: this.#book.kin, record: this.record, ended, onHealth };
    const end = await watchProgram(watched, this.#deps, signal);
    if (end.kind === "aborted") return;
    this.#mustMove = end.kind === "port taken";
    this.#ended(end.message, clock.nowMs() - beganMs);
    await this.#end();
  }

  /** Ends whatever runs of the instance. */
  async #end(): Promise<void> {
    const { table, own, rules, stopped } = this.#deps;
    const { graceMs } = rules;
    await endProcesses({ table, own, kin: this.#book.kin, graceMs, signal: stopped });
    this.#main = undefined;
  }

  async #finish(onGone: () => void): Promise<void> {
    await this.#end();
    await this.#book.erase();
    this.#isGone = true;
    onGone();
    this.#deps.logger.info("an instance is gone", this.#fields());
    this.#changes.tell();
  }

  /** The program is not there any more: counts, and sets when it may be started again. */
  #ended(message: string, ranMs: number): void {
    const { rules, clock, logger } = this.#deps;
    logger.info("an instance is started again", { ...this.#fields(), why: message });
    this.#main = undefined;
    this.#health = NOT_CHECKED;
    this.#trouble = message;
    this.#failures = failuresAfter(this.#failures, ranMs, rules.restart);
    this.#notBeforeMs = clock.nowMs() + restartDelayMs(this.#failures, rules.restart);
    this.#changes.tell();
  }

  #hear(health: Health): void {
    const before = JSON.stringify(this.#health);
    this.#health = health;
    if (JSON.stringify(health) !== before) this.#changes.tell();
  }

  #nudge(): void {
    this.#trouble = undefined;
    this.#wake.abort();
    this.#wake = new AbortController();
    this.#changes.tell();
  }

  #phase(): InstancePhase {
    if (this.record.isRemoved) return "terminating";
    if (!this.#isCurrent) return "pending";
    if (this.#main !== undefined) return "running";
    return this.#book.state?.hasRun === true ? "restarting" : "pending";
  }

  #mainAmong(entries: readonly ProcessEntry[]): ProcessEntry | undefined {
    return mainProcess(instanceProcesses(entries, this.#book.kin), this.#book.state);
  }

  #fields(): { readonly blockId: string; readonly instanceId: string } {
    const { blockId, instanceId } = this.record.spec;
    return { blockId, instanceId };
  }
}
