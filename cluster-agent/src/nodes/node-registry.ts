import { randomUUID } from "node:crypto";
import type { GpuSample, HostSample } from "@berth/proto";
import { BerthError, type Clock, type Logger } from "@berth/service-kit";
import type { CheckedRegistration } from "./check-fingerprint.ts";
import { checkGpuSample, checkHostSample, type FieldProblem } from "./check-samples.ts";
import { bindSlots } from "./gpu-slots.ts";
import type { GpuReading, GpuSlot, HostReading, NodeInventory } from "./inventory.ts";
import { type Liveness, livenessOf } from "./liveness.ts";
import {
  type RegisterOutcome,
  type Registration,
  registrationRefusal,
} from "./node-registration.ts";
import type { NodeStore } from "./node-store.ts";
import {
  isUnavailable,
  type NodeRecord,
  type NodeView,
  type Received,
  sampledTelemetry,
} from "./node-view.ts";
import { Serial } from "./serial.ts";

/** Most nodes of one cluster. */
export const MAX_NODES = 10_000;

const MAX_TOLD_PROBLEMS = 1_000;

/** What {@link openNodeRegistry} needs. */
export interface NodeRegistryOptions {
  readonly store: NodeStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Sampling intervals and the TTL of silence, in ms. */
  readonly intervals: { readonly gpuMs: number; readonly hostMs: number; readonly ttlMs: number };
}

/** Samples of one report; `fingerprint` when the inventory has changed. */
export interface NodeReport {
  readonly fingerprint?: NodeInventory | undefined;
  readonly host?: HostSample | undefined;
  readonly gpus: readonly GpuSample[];
}

interface NodeState {
  record: NodeRecord;
  heardAtMs?: number;
  registration?: { readonly handle: Registration; readonly end: AbortController };
  host?: Received<HostReading>;
  readonly gpus: Map<string, Received<GpuReading>>;
  /** Verdict that was told last. */
  told: Liveness;
  version: number;
  /** Fields of this registration whose problem was logged. */
  readonly problems: Set<string>;
}

/** Opens the registry with the nodes that the store knows; their verdicts wait one TTL. */
export async function openNodeRegistry(options: NodeRegistryOptions): Promise<NodeRegistry> {
  return new NodeRegistry(options, await options.store.load());
}

/** The nodes of a cluster: who they are, what they last said, and whether they are still there. */
export class NodeRegistry {
  readonly #options: NodeRegistryOptions;
  readonly #startedAtMs: number;
  readonly #nodes = new Map<string, NodeState>();
  readonly #serial = new Serial();
  #version = 0;
  #structureVersion = 0;

  constructor(options: NodeRegistryOptions, records: ReadonlyMap<string, NodeRecord>) {
    this.#options = options;
    this.#startedAtMs = options.clock.nowMs();
    for (const [id, record] of records) {
      this.#nodes.set(id, newState(record, "unknown"));
      options.logger.info("node known from the store, not heard yet", { node: id });
    }
  }

  /** Raised at each change of any node. */
  get version(): number {
    return this.#version;
  }

  /** Raised at each change that the cluster document can show: inventory, slots, verdicts, GPU states. */
  get structureVersion(): number {
    return this.#structureVersion;
  }

  /** Takes a node in, durable when it resolves, and ends the node's registration before it. */
  register(asked: CheckedRegistration): Promise<RegisterOutcome> {
    return this.#serial.run(() => this.#register(asked));
  }

  /** The newest registration of a node when it has this id, undefined otherwise. */
  registration(id: string): Registration | undefined {
    for (const { registration } of this.#nodes.values()) {
      if (registration?.handle.id === id) return registration.handle;
    }
    return undefined;
  }

  /**
   * Takes a report of the newest registration in; one of an older registration changes nothing. Bad
   * fields and samples of unknown GPUs are dropped and logged once. Throws INVALID_ARGUMENT when a
   * new fingerprint does not fit the node.
   */
  async report(registration: Registration, report: NodeReport): Promise<void> {
    const { fingerprint } = report;
    if (fingerprint !== undefined) {
      await this.#serial.run(() => this.#replaceInventory(registration, fingerprint));
    }
    const node = this.#current(registration);
    if (node === undefined) return;
    node.heardAtMs = this.#options.clock.nowMs();
    this.#takeHost(registration.nodeId, node, report.host);
    this.#takeGpus(registration.nodeId, node, report.gpus);
    this.#tellVerdict(registration.nodeId, node);
    this.#changed(node);
  }

  /** Looks for nodes whose verdict has changed by silence; logs them and raises the versions. */
  sweep(): void {
    for (const [id, node] of this.#nodes) this.#tellVerdict(id, node);
  }

  /** Every node that has ever registered, in id order, as it is now. */
  views(): NodeView[] {
    return [...this.#nodes]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([id, node]) => this.#toView(id, node));
  }

  /** One node, undefined when no node of that id has ever registered. */
  view(id: string): NodeView | undefined {
    const node = this.#nodes.get(id);
    return node && this.#toView(id, node);
  }

  async #register(asked: CheckedRegistration): Promise<RegisterOutcome> {
    const { nodeId, inventory } = asked;
    const known = this.#nodes.get(nodeId);
    if (known === undefined && this.#nodes.size >= MAX_NODES) {
      const message = `node_id: the cluster has ${MAX_NODES} nodes, no more are taken`;
      return { kind: "refused", reason: "OVERLOADED", message };
    }
    const refusal =
      known &&
      registrationRefusal({ record: known.record, liveness: this.#liveness(known) }, asked);
    if (refusal !== undefined) return refusal;
    const record: NodeRecord = {
      machineId: inventory.machineId,
      incarnation: asked.incarnation,
      agentVersion: asked.agentVersion,
      inventory,
      slots: boundSlots(known?.record.slots ?? [], inventory),
      firstSeenAt: known?.record.firstSeenAt ?? this.#options.clock.timestamp(),
    };
    await this.#save(nodeId, known?.record, record);
    const node = known ?? newState(record, "live");
    this.#nodes.set(nodeId, node);
    if (node.record.inventory.bootId !== inventory.bootId) forgetSamples(node);
    const registration = this.#begin(nodeId, node);
    this.#setRecord(node, record);
    this.#tellVerdict(nodeId, node);
    return { kind: "registered", registration };
  }

  #begin(nodeId: string, node: NodeState): Registration {
    node.registration?.end.abort();
    const end = new AbortController();
    const handle = { nodeId, id: randomUUID(), ended: end.signal };
    node.registration = { handle, end };
    node.heardAtMs = this.#options.clock.nowMs();
    node.problems.clear();
    return handle;
  }

  async #replaceInventory(registration: Registration, inventory: NodeInventory): Promise<void> {
    const node = this.#current(registration);
    if (node === undefined) return;
    if (inventory.machineId !== node.record.machineId) {
      const message = "fingerprint.identity.machine_id: expected the machine that registered";
      throw new BerthError("INVALID_ARGUMENT", message);
    }
    const slots = boundSlots(node.record.slots, inventory);
    const record = { ...node.record, inventory, slots };
    await this.#save(registration.nodeId, node.record, record);
    this.#setRecord(node, record);
  }

  #setRecord(node: NodeState, record: NodeRecord): void {
    node.record = record;
    const present = new Set(record.inventory.gpus.map((gpu) => gpu.uuid));
    for (const uuid of node.gpus.keys()) if (!present.has(uuid)) node.gpus.delete(uuid);
    this.#changed(node);
    this.#structureVersion += 1;
  }

  async #save(id: string, before: NodeRecord | undefined, after: NodeRecord): Promise<void> {
    if (JSON.stringify(before) === JSON.stringify(after)) return;
    await this.#options.store.save(id, after);
  }

  #takeHost(id: string, node: NodeState, sample: HostSample | undefined): void {
    if (sample === undefined) return;
    const { reading, problems } = checkHostSample(sample, node.record.inventory);
    node.host = { reading, atMs: this.#options.clock.nowMs() };
    this.#tellProblems(id, node, problems);
  }

  #takeGpus(id: string, node: NodeState, samples: readonly GpuSample[]): void {
    const present = new Set(node.record.inventory.gpus.map((gpu) => gpu.uuid));
    const atMs = this.#options.clock.nowMs();
    for (const sample of samples) {
      if (!present.has(sample.uuid)) {
        const field = "gpus";
        this.#tellProblems(id, node, [{ field, why: "a GPU is not in the fingerprint" }]);
        continue;
      }
      const { reading, problems } = checkGpuSample(sample);
      const before = node.gpus.get(sample.uuid)?.reading;
      node.gpus.set(sample.uuid, { reading, atMs });
      if (isUnavailable(before) !== isUnavailable(reading)) this.#structureVersion += 1;
      this.#tellProblems(id, node, problems);
    }
  }

  #tellProblems(id: string, node: NodeState, problems: readonly FieldProblem[]): void {
    for (const { field, why } of problems) {
      if (node.problems.has(field) || node.problems.size >= MAX_TOLD_PROBLEMS) continue;
      node.problems.add(field);
      this.#options.logger.warn("a field of a sample was dropped", { node: id, field, why });
    }
  }

  #tellVerdict(id: string, node: NodeState): void {
    const liveness = this.#liveness(node);
    if (liveness === node.told) return;
    const level = liveness === "live" ? "info" : "warn";
    this.#options.logger[level]("node verdict changed", {
      node: id,
      from: node.told,
      to: liveness,
    });
    node.told = liveness;
    this.#changed(node);
    this.#structureVersion += 1;
  }

  #changed(node: NodeState): void {
    this.#version += 1;
    node.version = this.#version;
  }

  #current({ nodeId, id }: Registration): NodeState | undefined {
    const node = this.#nodes.get(nodeId);
    return node?.registration?.handle.id === id ? node : undefined;
  }

  #liveness(node: NodeState): Liveness {
    return livenessOf({
      nowMs: this.#options.clock.nowMs(),
      startedAtMs: this.#startedAtMs,
      heardAtMs: node.heardAtMs,
      ttlMs: this.#options.intervals.ttlMs,
    });
  }

  #toView(id: string, node: NodeState): NodeView {
    const { inventory, slots, agentVersion, firstSeenAt } = node.record;
    const liveness = this.#liveness(node);
    const moment = {
      nowMs: this.#options.clock.nowMs(),
      startedAtMs: this.#startedAtMs,
      intervals: this.#options.intervals,
    };
    const { version } = node;
    const about = { id, liveness, inventory, slots, agentVersion, firstSeenAt, version };
    return { ...about, ...sampledTelemetry(node, moment) };
  }
}

function newState(record: NodeRecord, told: Liveness): NodeState {
  return { record, gpus: new Map(), told, version: 0, problems: new Set() };
}

function forgetSamples(node: NodeState): void {
  delete node.host;
  node.gpus.clear();
}

function boundSlots(slots: readonly GpuSlot[], inventory: NodeInventory): readonly GpuSlot[] {
  const binding = bindSlots(slots, inventory.gpus);
  if (binding.kind === "bound") return binding.slots;
  const message = `fingerprint.gpus: the node has had more than ${binding.limit} different GPUs`;
  throw new BerthError("INVALID_ARGUMENT", message);
}
