import { randomUUID } from "node:crypto";
import { Serial } from "@berth/service-kit";
import type { PortBook } from "./free-ports.ts";
import type { KeptInstance } from "./instance-files.ts";
import type { InstanceRecord, InstanceState, KnownProcess } from "./instance-record.ts";
import { isSameProcess, type Kin, type ProcessLook, rememberedKin } from "./kinship.ts";
import { instanceName } from "./names.ts";
import type { ProcessDeps } from "./process-deps.ts";

/** Processes of an instance that are written down: those that carry our marks are not. */
const MAX_KIN = 1_000;

/** What is written down of one instance; what it tells has been written. */
export class InstanceBook {
  readonly #deps: ProcessDeps;
  readonly #writes = new Serial();
  #record: InstanceRecord;
  #state: InstanceState | undefined;
  /** Processes that the last look found. */
  #kin: readonly KnownProcess[];
  #isErased = false;

  constructor({ record, state }: KeptInstance, deps: ProcessDeps) {
    this.#deps = deps;
    this.#record = record;
    this.#state = state;
    this.#kin = state?.kin ?? [];
    deps.ports.take(record.ports);
  }

  /** What shall run. */
  get record(): InstanceRecord {
    return this.#record;
  }

  /** How what shall run was started last; undefined when it was not: what may have run was something else. */
  get state(): InstanceState | undefined {
    return this.#state?.specDigest === this.#record.specDigest ? this.#state : undefined;
  }

  /** Whether something else was started under this id last. */
  get hasFormer(): boolean {
    return this.#state !== undefined && this.state === undefined;
  }

  /** How the instance's processes are told from all others. */
  get kin(): Kin {
    const main = this.#state?.process;
    const others = main ? this.#kin.filter((known) => !isSameProcess(known, main)) : this.#kin;
    return {
      runtimeId: this.#deps.runtimeId,
      instance: instanceName(this.#record.spec),
      known: main === undefined ? others : [main, ...others],
    };
  }

  /** Remembers the processes that a look shows, so that one that then leaves the others stays known. */
  async rememberKin(look: ProcessLook): Promise<void> {
    const before = this.#state;
    const { all, unmarked } = rememberedKin(look, this.kin);
    await this.#writes.run(async () => {
      const state = this.#state;
      // A look that began before the last start knows nothing of it.
      if (state === undefined || state.startId !== before?.startId || this.#isErased) return;
      this.#kin = all;
      const kin = unmarked.filter(({ pid }) => pid !== state.process?.pid).slice(0, MAX_KIN);
      if (JSON.stringify(kin) === JSON.stringify(state.kin ?? [])) return;
      await this.#write({ ...state, kin });
    });
  }

  /** Changes the record; durable when it resolves. */
  async update(change: (record: InstanceRecord) => InstanceRecord): Promise<void> {
    await this.#writes.run(async () => {
      const next = change(this.#record);
      await this.#deps.files.writeRecord(next);
      this.#record = next;
    });
  }

  /** Marks it removed, on disk when that takes it: without the mark a later agent is asked to remove it again. */
  async markRemoved(): Promise<void> {
    try {
      await this.update((record) => ({ ...record, isRemoved: true }));
    } catch (err) {
      const { blockId, instanceId } = this.#record.spec;
      this.#deps.logger.warn("a removal is not written down", { blockId, instanceId, err });
      this.#record = { ...this.#record, isRemoved: true };
    }
  }

  /** The ports of the next start: those that the record has, or others when `mustMove` or somebody has them now. */
  async usablePorts(ports: PortBook, mustMove: boolean): Promise<void> {
    const former = this.#record.ports;
    if (!mustMove && (await ports.areFree(former))) return;
    const chosen = await ports.choose();
    await this.update((record) => ({ ...record, ports: chosen }));
    ports.release(former);
  }

  /** Writes down that a start is about to happen, now that nothing runs of an earlier one; gives its id. */
  async beginStart(failures: number): Promise<string> {
    const startId = randomUUID();
    await this.#writes.run(async () => {
      const former = this.state;
      await this.#write({
        startId,
        specDigest: this.#record.specDigest,
        restarts: (former?.restarts ?? 0) + (former?.hasRun === true ? 1 : 0),
        failures,
        bootId: this.#deps.bootId,
        hasRun: false,
      });
      this.#kin = [];
    });
    return startId;
  }

  /** Writes down that the start has happened, and as which process, if any. */
  async noteStart(process: KnownProcess | undefined): Promise<void> {
    await this.#writes.run(async () => {
      const state = this.#state;
      if (state === undefined) return;
      const known = state.process;
      if (known !== undefined && process !== undefined && isSameProcess(known, process)) return;
      const own = process && { pid: process.pid, startTicks: process.startTicks };
      await this.#write({ ...state, hasRun: true, process: own });
    });
  }

  /** Removes all that is written down. */
  async erase(): Promise<void> {
    await this.#writes.run(async () => {
      await this.#deps.files.removeInstance(this.#record.spec);
      this.#isErased = true;
    });
    this.#deps.ports.release(this.#record.ports);
  }

  async #write(state: InstanceState): Promise<void> {
    await this.#deps.files.writeState(this.#record.spec, state);
    this.#state = state;
  }
}
