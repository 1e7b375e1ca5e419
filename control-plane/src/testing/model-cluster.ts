import { randomUUID } from "node:crypto";
import type { BlockDocument, LeaseDocument, OperationDocument } from "@berth/proto";
import { BerthError, toErrorBody } from "@berth/service-kit";
import type { AgentAnswer, AgentCall, ClusterBlocks } from "../fleet/agent-api.ts";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { aGpu } from "./documents.ts";
import { testNode, viewOf } from "./fleet-views.ts";

interface Hold {
  readonly nodeId: string;
  readonly slots: readonly string[];
}

interface ModelLease extends Hold {
  readonly subject: string;
  endsAtMs: number;
}

/** Fields of requests that a model looks at. */
interface Body {
  readonly action?: string;
  readonly idempotency_key?: string;
  readonly lease_ids?: readonly string[];
  readonly lease_id?: string;
  readonly subject?: string;
  readonly ttl_ms?: number;
  readonly node_id?: string;
  readonly gpus?: readonly unknown[];
  readonly block_id?: string;
  readonly block_data?: {
    readonly id: string;
    readonly minInstances?: number;
    readonly resources?: { readonly gpus?: number };
  };
}

/** A creation is refused so by a cluster that a test has say no. */
export interface ModelRefusal {
  readonly reason: ConstructorParameters<typeof BerthError>[0];
  readonly message: string;
}

/**
 * A cluster-agent and its cluster in memory, as far as gateways see it: nodes with GPUs that are checked and taken in
 * one step, leases that end, blocks, operations that take their time. What it has outlives whoever asks.
 */
export class ModelCluster {
  readonly id: string;
  isLive = true;
  isHeard = true;
  isClosed = false;
  /** What it says to a creation before it accepts it. */
  denies: ModelRefusal | undefined;
  /** What a creation that it accepted fails with. */
  fails: ModelRefusal | undefined;
  /** Score of its dry runs where there is room. */
  score = 0.5;
  /** Time of an operation, ms. */
  workMs = 1;
  /** Creations that were carried out, by block. */
  readonly made: string[] = [];
  readonly leases = new Map<string, ModelLease>();
  readonly operations = new Map<string, OperationDocument>();
  readonly blocks = new Map<string, BlockDocument>();
  readonly #taken = new Map<string, Hold>();
  readonly #byKey = new Map<string, string>();
  readonly #nodes: ReadonlyMap<string, readonly string[]>;
  readonly #changed: () => void;
  #told: ClusterBlocks | undefined;

  /** @param changed called when it has something new to tell */
  constructor(
    id: string,
    size: { readonly nodes: number; readonly gpus: number },
    changed: () => void,
  ) {
    this.id = id;
    const slots = Array.from({ length: size.gpus }, (_, slot) => String(slot));
    const names = Array.from({ length: size.nodes }, (_, node) => `${id}-node-${node}`);
    this.#nodes = new Map(names.map((name) => [name, slots]));
    this.#changed = changed;
  }

  /** GPUs that instances hold. */
  get allocatedGpus(): number {
    return [...this.#taken.values()].reduce((sum, { slots }) => sum + slots.length, 0);
  }

  /** Leases that have not ended. */
  get heldLeases(): number {
    this.#sweep();
    return this.leases.size;
  }

  /** As the fleet's inventory has it. */
  view(): ClusterView {
    const taken = this.#states();
    const nodes = [...this.#nodes].map(([name, slots]) =>
      testNode(
        name,
        slots.map((slot) => {
          const state = taken.get(`${name}/${slot}`) ?? "free";
          return aGpu(slot, { uuid: `GPU-${name}-${slot}`, state });
        }),
      ),
    );
    return viewOf(this.id, nodes, this.isLive ? "live" : "unreachable");
  }

  /** What its agent tells of its blocks. */
  told(): ClusterBlocks {
    this.#told ??= {
      clusterId: this.id,
      ledger: { state: this.isClosed ? "closed" : "open", generation: 1, revision: "1" },
      blocks: new Map(this.blocks),
      operations: new Map(this.operations),
      allocations: [],
      leases: [...this.leases].map(([id, lease]) => this.#leaseDocument(id, lease)),
      isBehind: false,
      isLive: this.isLive,
    };
    return this.#told;
  }

  /** Something was changed from outside. */
  touch(): void {
    this.#told = undefined;
    this.#changed();
  }

  /** Answers as the agent's API does. */
  answer({ method, path, bodyJson = "{}" }: AgentCall): AgentAnswer {
    try {
      this.#sweep();
      const { data = {}, ...flat } = JSON.parse(bodyJson) as Body & { readonly data?: Body };
      const body = { ...flat, ...data };
      const answer = this.#route(`${method} ${path}`, body);
      return { status: answer.status, bodyJson: JSON.stringify(answer.body) };
    } catch (thrown) {
      if (!(thrown instanceof BerthError)) throw thrown;
      return { status: thrown.httpStatus, bodyJson: JSON.stringify(toErrorBody(thrown)) };
    } finally {
      this.touch();
    }
  }

  #route(asked: string, body: Body): { readonly status: number; readonly body: object } {
    const [, id = ""] = /^\w+ \/\w+\/([^/?]+)/.exec(asked) ?? [];
    const name = decodeURIComponent(id);
    if (asked === "POST /executeAction") return this.#execute(body);
    if (asked === "POST /leases") return this.#lease(body);
    if (asked.startsWith("DELETE /leases/")) {
      this.leases.delete(name);
      return { status: 200, body: { success: true, data: "released" } };
    }
    if (asked.startsWith("POST /leases/")) return this.#renew(name, body);
    if (asked.startsWith("GET /operations?")) {
      return { status: 200, body: { success: true, data: [...this.operations.values()] } };
    }
    const found = asked.startsWith("GET /operations/")
      ? this.operations.get(name)
      : this.blocks.get(name);
    if (found === undefined) throw new BerthError("NOT_FOUND", `no ${asked}`);
    return { status: 200, body: { success: true, data: found } };
  }

  #execute(body: Body) {
    const { action, block_data: block, idempotency_key: key = randomUUID() } = body;
    if (block?.id === "not valid") throw new BerthError("INVALID_ARGUMENT", "id: expected a label");
    if (action === "dry_run")
      return { status: 200, body: { success: true, data: this.#dryRun(body) } };
    const known = this.#byKey.get(key);
    if (known !== undefined) return this.#accepted(known);
    if (this.denies !== undefined) throw new BerthError(this.denies.reason, this.denies.message);
    const operationId = randomUUID();
    this.#byKey.set(key, operationId);
    const blockId = block?.id ?? body.block_id ?? "";
    const now = new Date().toISOString();
    this.operations.set(operationId, {
      ...{ operation_id: operationId, action: action ?? "", block_id: blockId, state: "running" },
      ...{ step: "", progress: { done: 0, total: 1 }, attempts: 1, idempotency_key: key },
      ...{ created_at: now, updated_at: now },
    });
    setTimeout(() => this.#carryOut(operationId, body), this.workMs);
    return this.#accepted(operationId);
  }

  #accepted(operationId: string) {
    const operation = this.operations.get(operationId);
    const data = { operation_id: operationId, state: operation?.state };
    return { status: 202, body: { success: true, data, operation } };
  }

  #carryOut(operationId: string, body: Body): void {
    const operation = this.operations.get(operationId);
    if (operation === undefined) return;
    const settle = (change: Partial<OperationDocument>) => {
      this.operations.set(operationId, { ...operation, ...change });
      this.touch();
    };
    try {
      if (body.action === "create_block") this.#make(operation.block_id, body);
      else this.#remove(operation.block_id);
      settle({ state: "done", result: "Action performed" });
    } catch (thrown) {
      if (!(thrown instanceof BerthError)) throw thrown;
      const { reason, message } = thrown;
      settle({ state: "failed", error: { reason, message } });
    }
  }

  #make(blockId: string, { lease_ids: leaseIds = [], block_data: block }: Body): void {
    if (this.blocks.has(blockId)) throw new BerthError("ALREADY_EXISTS", `block ${blockId} exists`);
    if (this.fails !== undefined) throw new BerthError(this.fails.reason, this.fails.message);
    const leases = leaseIds.map((id) => {
      const lease = this.leases.get(id);
      if (lease === undefined) throw new BerthError("CONFLICT", `lease ${id} is not held`);
      return lease;
    });
    const { gpus = 0 } = block?.resources ?? {};
    const holds: Hold[] = [...leases];
    while (holds.length < (block?.minInstances ?? 1)) holds.push(this.#free(gpus, holds));
    for (const id of leaseIds) this.leases.delete(id);
    for (const [place, hold] of holds.entries()) this.#taken.set(`${blockId}/${place}`, hold);
    this.made.push(blockId);
    const now = new Date().toISOString();
    this.blocks.set(blockId, {
      ...{ block_id: blockId, phase: "running", component_uri: "" },
      ...{ instances: [], created_at: now, updated_at: now },
    });
  }

  #remove(blockId: string): void {
    this.blocks.delete(blockId);
    for (const name of [...this.#taken.keys()]) {
      if (name.startsWith(`${blockId}/`)) this.#taken.delete(name);
    }
  }

  #dryRun({ block_data: block }: Body): object {
    const { gpus = 0 } = block?.resources ?? {};
    try {
      const places: Hold[] = [];
      for (let count = Math.max(1, block?.minInstances ?? 1); count > 0; count -= 1) {
        places.push(this.#free(gpus, places));
      }
      const placements = places.map(({ nodeId, slots }) => ({ node_id: nodeId, gpus: slots }));
      return {
        selection_score_data: { score: this.score, node_info: placements[0], placements },
      };
    } catch (thrown) {
      if (!(thrown instanceof BerthError)) throw thrown;
      return { selection_score_data: { score: 0, node_info: {}, reasons: [thrown.message] } };
    }
  }

  /** The first node with so many free GPUs beside what is planned already. */
  #free(gpus: number, planned: readonly Hold[]): Hold {
    const taken = this.#states();
    for (const { nodeId, slots } of planned) {
      for (const slot of slots) taken.set(`${nodeId}/${slot}`, "leased");
    }
    for (const [nodeId, all] of this.#nodes) {
      const free = all.filter((slot) => !taken.has(`${nodeId}/${slot}`));
      if (free.length >= gpus) return { nodeId, slots: free.slice(0, gpus) };
    }
    throw new BerthError("CONFLICT", `no node has ${gpus} free GPUs`);
  }

  #lease({
    lease_id: id = randomUUID(),
    subject = "",
    ttl_ms: ttlMs = 0,
    node_id: nodeId = "",
    gpus = [],
  }: Body) {
    const known = this.leases.get(id);
    const slots = gpus.map(String);
    if (this.isClosed) throw new BerthError("UNAVAILABLE", "the ledger is closed");
    if (known === undefined) {
      if (!this.#nodes.has(nodeId)) throw new BerthError("NOT_FOUND", `no node ${nodeId}`);
      const taken = this.#states();
      const lost = slots.filter((slot) => taken.has(`${nodeId}/${slot}`));
      if (lost.length > 0) {
        const details = { device_uuids: lost.map((slot) => `GPU-${nodeId}-${slot}`) };
        throw new BerthError("CONFLICT", `GPU ${lost.join()} of ${nodeId} is taken`, { details });
      }
      this.leases.set(id, { nodeId, slots, subject, endsAtMs: performance.now() + ttlMs });
    }
    const lease = this.leases.get(id) as ModelLease;
    const status = known === undefined ? 201 : 200;
    return { status, body: { success: true, data: this.#leaseDocument(id, lease) } };
  }

  #renew(id: string, { ttl_ms: ttlMs = 0 }: Body) {
    const lease = this.leases.get(id);
    if (lease === undefined) throw new BerthError("NOT_FOUND", `no lease ${id}`);
    lease.endsAtMs = performance.now() + ttlMs;
    return { status: 200, body: { success: true, data: this.#leaseDocument(id, lease) } };
  }

  #leaseDocument(id: string, { nodeId, slots, subject, endsAtMs }: ModelLease): LeaseDocument {
    return {
      ...{ lease_id: id, subject, node_id: nodeId },
      gpus: slots.map((slot) => ({ uuid: `GPU-${nodeId}-${slot}` })),
      ...{ cpu_millis: 0, memory: 0, storage: 0, renewals: 0, age_ms: 0 },
      ttl_left_ms: Math.max(0, Math.round(endsAtMs - performance.now())),
    };
  }

  /** States of the GPUs that are not free, by node and slot. Throws when one is held twice. */
  #states(): Map<string, "leased" | "allocated"> {
    const states = new Map<string, "leased" | "allocated">();
    const put = ({ nodeId, slots }: Hold, state: "leased" | "allocated") => {
      for (const slot of slots) {
        const name = `${nodeId}/${slot}`;
        if (states.has(name)) throw new Error(`GPU ${name} is held twice`);
        states.set(name, state);
      }
    };
    for (const lease of this.leases.values()) put(lease, "leased");
    for (const hold of this.#taken.values()) put(hold, "allocated");
    return states;
  }

  #sweep(): void {
    for (const [id, { endsAtMs }] of this.leases) {
      if (endsAtMs <= performance.now()) this.leases.delete(id);
    }
  }
}
