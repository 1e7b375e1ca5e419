import { BerthError, isBerthError, type Part, Serial } from "@berth/service-kit";
import type { ApplyOutcome, BlockSpec, InstanceSpec, Observation, Runtime } from "../runtime.ts";
import { specDigest } from "../spec-digest.ts";
import { abortable, Changes } from "./changes.ts";
import { PortBook } from "./free-ports.ts";
import { InstanceFiles } from "./instance-files.ts";
import { InstanceSupervisor } from "./instance-supervisor.ts";
import { keepKinInMind } from "./kin-memory.ts";
import type { ProcessEntry } from "./kinship.ts";
import { type InstanceKey, instanceName, nameRefusal } from "./names.ts";
import { type ProcessDeps, type RuntimeFiles, SUPERVISION_RULES } from "./process-deps.ts";
import { blockRefusal, programRefusal, refused, specRefusal } from "./process-refusals.ts";
import { MAX_INSTANCES, type ProcessRuntimeOptions } from "./process-runtime-options.ts";
import { ProcessTable } from "./process-table.ts";
import { lockRuntime } from "./runtime-lock.ts";
import { StrayInstances } from "./stray-instances.ts";

/** What a put came to; what is to be waited for is waited for outside of the row in which puts stand. */
type Put =
  | { readonly kind: "refused"; readonly outcome: ApplyOutcome }
  | { readonly kind: "put"; readonly supervisor: InstanceSupervisor }
  | { readonly kind: "terminating"; readonly supervisor: InstanceSupervisor };

/** What there is while the runtime runs. */
interface Running {
  readonly deps: ProcessDeps;
  readonly strays: StrayInstances;
}

/**
 * Blocks as supervised processes of this machine, for clusters without Kubernetes. The files of the data directory say
 * what shall run; the processes carry in their environment whose they are, and outlive the agent.
 */
export class ProcessRuntime implements Runtime, Part {
  readonly kind = "process";
  readonly name = "process runtime";
  readonly #options: ProcessRuntimeOptions;
  readonly #files: RuntimeFiles;
  readonly #table: ProcessTable;
  readonly #changes = new Changes();
  readonly #stop = new AbortController();
  readonly #serial = new Serial();
  readonly #blocks = new Map<string, BlockSpec>();
  readonly #supervisors = new Map<string, InstanceSupervisor>();
  readonly #loops = new Set<Promise<void>>();
  #running: Running | undefined;
  #unlock: (() => Promise<void>) | undefined;
  #whyNot = "it was not started yet";

  constructor(options: ProcessRuntimeOptions) {
    this.#options = options;
    this.#table = options.table ?? new ProcessTable();
    this.#files = options.files ?? new InstanceFiles(options.dataDir);
  }

  /**
   * Takes over what runs. Rejects with CONFLICT when another agent has the directory, with PRECONDITION_FAILED when a
   * file is damaged, with UNIMPLEMENTED on a machine without Linux's /proc; it may be tried again then.
   */
  async start(): Promise<void> {
    try {
      await this.#takeOver();
    } catch (thrown) {
      this.#whyNot = thrown instanceof Error ? thrown.message : String(thrown);
      await this.#unlock?.();
      this.#unlock = undefined;
      throw thrown;
    }
  }

  async #takeOver(): Promise<void> {
    const { dataDir, clusterId, process: own, workingDir, clock, logger } = this.#options;
    const bootId = await this.#table.bootId();
    const runtimeId = await this.#files.runtimeId();
    this.#unlock = await lockRuntime(runtimeId, dataDir);
    const kept = await this.#files.read(bootId);
    const entries = await this.#table.scan();
    const deps: ProcessDeps = {
      files: this.#files,
      table: this.#table,
      ports: new PortBook(this.#options.ports),
      rules: { ...SUPERVISION_RULES, ...this.#options.rules },
      ...{ runtimeId, bootId, clusterId, own, workingDir, clock, logger },
      stopped: this.#stop.signal,
    };
    for (const block of kept.blocks) this.#blocks.set(block.blockId, block);
    for (const instance of kept.instances) {
      this.#supervise(new InstanceSupervisor(instance, deps, this.#changes), entries);
    }
    const strays = new StrayInstances(deps);
    this.#keep(strays.endAll(entries, (name) => this.#supervisors.has(name)));
    this.#keep(keepKinInMind(() => this.#supervisors.values(), deps));
    this.#running = { deps, strays };
  }

  /** Ends the supervision; the instances go on, unless they are to end with the agent. */
  async stop(): Promise<void> {
    this.#stop.abort(new BerthError("UNAVAILABLE", "the process runtime is stopped"));
    await Promise.all(this.#loops);
    const ending = this.#options.endsInstances === true ? [...this.#supervisors.values()] : [];
    await Promise.all(ending.map((supervisor) => supervisor.halt()));
    this.#running = undefined;
    await this.#unlock?.();
  }

  refusal(program: Pick<InstanceSpec, "image" | "command">): string | undefined {
    return programRefusal(program);
  }

  async applyBlock(spec: BlockSpec, signal: AbortSignal): Promise<ApplyOutcome> {
    this.#ready(signal);
    const refusal = blockRefusal(spec);
    if (refusal !== undefined) return refusal;
    return await this.#inRow(signal, async () => {
      if (!this.#blocks.has(spec.blockId) && this.#blocks.size >= MAX_INSTANCES) {
        return refused("QUOTA_EXCEEDED", `this cluster has ${MAX_INSTANCES} blocks, the most`);
      }
      await this.#files.writeBlock(spec);
      this.#blocks.set(spec.blockId, spec);
      this.#changes.tell();
      return { kind: "applied" };
    });
  }

  async applyInstance(spec: InstanceSpec, signal: AbortSignal): Promise<ApplyOutcome> {
    const { deps } = this.#ready(signal);
    const refusal = specRefusal(spec, this.#options.process.env) ?? this.#nodeRefusal(spec.nodeId);
    if (refusal !== undefined) return refusal;
    const waiting = AbortSignal.any([signal, deps.stopped]);
    for (;;) {
      const put = await this.#inRow(signal, () => this.#put(spec, deps));
      if (put.kind === "refused") return put.outcome;
      if (put.kind === "put") {
        await put.supervisor.untilCurrent(waiting);
        return { kind: "applied" };
      }
      await put.supervisor.untilGone(waiting);
    }
  }

  async removeInstance(id: InstanceKey, signal: AbortSignal): Promise<void> {
    const { deps, strays } = this.#ready(signal);
    const { blockId, instanceId } = id;
    if (nameRefusal("blockId", blockId) ?? nameRefusal("instanceId", instanceId)) return;
    const name = instanceName(id);
    const supervisor = await this.#inRow(signal, async () => {
      const found = this.#supervisors.get(name);
      await found?.remove();
      return found;
    });
    const waiting = AbortSignal.any([signal, deps.stopped]);
    if (supervisor !== undefined) await supervisor.untilGone(waiting);
    else await strays.end(name, waiting);
  }

  async removeBlock(blockId: string, signal: AbortSignal): Promise<void> {
    const { deps, strays } = this.#ready(signal);
    if (nameRefusal("blockId", blockId) !== undefined) return;
    const waiting = AbortSignal.any([signal, deps.stopped]);
    for (let isGone = false; !isGone; ) {
      const own = this.#instancesOf(blockId);
      await Promise.all(own.map((spec) => this.removeInstance(spec, signal)));
      const left = await abortable(strays.namesOf(blockId), waiting);
      const stray = left.filter((name) => !this.#supervisors.has(name));
      await Promise.all(stray.map((name) => strays.end(name, waiting)));
      isGone = await this.#inRow(signal, () => this.#forget(blockId));
    }
  }

  async observe(signal: AbortSignal): Promise<Observation> {
    this.#ready(signal).strays.refuseWhileAny();
    return {
      blockIds: [...this.#blocks.keys()].sort(),
      instances: [...this.#supervisors.entries()]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([, supervisor]) => supervisor.observed()),
    };
  }

  onChange(listener: () => void): () => void {
    return this.#changes.onGathered(listener);
  }

  /** Ends and forgets all blocks with their instances: of a fleet that is not kept. */
  async endAll(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#blocks.keys()].map((id) => this.removeBlock(id, signal)));
  }

  async #put(spec: InstanceSpec, deps: ProcessDeps): Promise<Put> {
    const supervisor = this.#supervisors.get(instanceName(spec));
    if (supervisor?.record.isRemoved) return { kind: "terminating", supervisor };
    const digest = specDigest(spec);
    if (supervisor === undefined) return await this.#create(spec, digest, deps);
    if (supervisor.record.specDigest !== digest) {
      await supervisor.replace({ spec, specDigest: digest });
    } else if (!isSame(supervisor.record.spec.ownership, spec.ownership)) {
      await supervisor.own(spec.ownership);
    }
    return { kind: "put", supervisor };
  }

  async #create(spec: InstanceSpec, digest: string, deps: ProcessDeps): Promise<Put> {
    const refusal = this.#placeRefusal(spec);
    if (refusal !== undefined) return { kind: "refused", outcome: refusal };
    const ports = await deps.ports.choose();
    const record = { spec, specDigest: digest, ports, isRemoved: false };
    try {
      await this.#files.writeRecord(record);
    } catch (thrown) {
      deps.ports.release(ports);
      throw thrown;
    }
    const supervisor = new InstanceSupervisor({ record, state: undefined }, deps, this.#changes);
    this.#supervise(supervisor, []);
    this.#changes.tell();
    return { kind: "put", supervisor };
  }

  /** Removes the root; gives whether there was nothing left below it. */
  async #forget(blockId: string): Promise<boolean> {
    if (this.#instancesOf(blockId).length > 0) return false;
    await this.#files.removeBlock(blockId);
    this.#blocks.delete(blockId);
    this.#changes.tell();
    return true;
  }

  #supervise(supervisor: InstanceSupervisor, entries: readonly ProcessEntry[]): void {
    const name = instanceName(supervisor.record.spec);
    this.#supervisors.set(name, supervisor);
    supervisor.adopt(entries);
    this.#keep(supervisor.supervise(() => this.#supervisors.delete(name)));
  }

  #instancesOf(blockId: string): InstanceSpec[] {
    const specs = [...this.#supervisors.values()].map(({ record }) => record.spec);
    return specs.filter((spec) => spec.blockId === blockId);
  }

  #placeRefusal({ blockId }: InstanceSpec): ApplyOutcome | undefined {
    if (!this.#blocks.has(blockId)) {
      return refused("PRECONDITION_FAILED", `block ${blockId} has no root here: apply it first`);
    }
    const limit = Math.min(this.#options.maxInstances ?? MAX_INSTANCES, MAX_INSTANCES);
    if (this.#supervisors.size < limit) return undefined;
    return refused("QUOTA_EXCEEDED", `this cluster runs ${limit} instances, the most`);
  }

  #nodeRefusal(nodeId: string): ApplyOutcome | undefined {
    const message = this.#options.refuseNode?.(nodeId);
    return message === undefined ? undefined : refused("PRECONDITION_FAILED", message);
  }

  /** Runs tasks that change what is kept one after the other. */
  async #inRow<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    const work = this.#serial.run(async () => {
      this.#ready(signal);
      return await task();
    });
    this.#keep(Promise.allSettled([work]));
    try {
      return await abortable(work, signal);
    } catch (thrown) {
      if (signal.aborted || isBerthError(thrown)) throw thrown;
      const why = thrown instanceof Error ? thrown.message : "unknown";
      throw new BerthError("UNAVAILABLE", `the runtime's files are not written: ${why}`, {
        cause: thrown,
      });
    }
  }

  #keep(loop: Promise<unknown>): void {
    const kept = loop.then(() => {
      this.#loops.delete(kept);
    });
    this.#loops.add(kept);
  }

  #ready(signal: AbortSignal): Running {
    signal.throwIfAborted();
    if (this.#running !== undefined && !this.#stop.signal.aborted) return this.#running;
    throw new BerthError("UNAVAILABLE", `the process runtime does not run: ${this.#whyNot}`);
  }
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
