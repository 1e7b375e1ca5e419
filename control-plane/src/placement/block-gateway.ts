import { randomUUID } from "node:crypto";
import type { BlockDocument, OperationDocument } from "@berth/proto";
import { BerthError, ERROR_TABLE, operationWarnings, sleep, toErrorBody } from "@berth/service-kit";
import { parsed, toError } from "../allocation/agent-asking.ts";
import type {
  AgentAnswer,
  AgentApi,
  AgentCall,
  ClusterBlocks,
  FleetBlocks,
} from "../fleet/agent-api.ts";
import type { BlockCharges, ChargedEnd } from "../org/charges/block-charges.ts";
import { type BlockHomes, notHeard } from "./block-homes.ts";
import { comingInstances } from "./coming-instances.ts";
import { isSettled, settledOperation } from "./operation-watch.ts";

/** What {@link BlockGateway} needs. */
export interface BlockGatewayDeps {
  readonly agents: AgentApi;
  readonly blocks: FleetBlocks;
  readonly homes: Pick<BlockHomes, "unheard" | "unheardClusters">;
  readonly charges: Pick<BlockCharges, "charge" | "settle">;
}

/** A block where it is. */
export interface PlacedBlock {
  readonly told: ClusterBlocks;
  readonly block: BlockDocument;
}

/** An action for a cluster's agent. */
export interface AskedAction {
  readonly clusterId: string;
  /** The action and its fields, numbers as the client wrote them. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** How long the client waits for the end of the operation; 0: until it is accepted. */
  readonly waitMs: number;
  /** A request to scale has charged what it adds. */
  readonly isCharged?: boolean;
}

/** Longest time for an agent to accept or refuse; pre-check policies and dry runs have their time. */
const ACCEPT_MS = 20_000;
/** Longest time that a list waits for what was just held, ms, and time between two looks. */
const CATCH_UP_MS = 1_000;
const LOOK_EVERY_MS = 20;
/** How long an agent lets clients wait for the removal of a node, ms. */
const REMOVAL_WAIT_MS = 30_000;
/** How long an operation is followed that its client did not wait for, ms: then what its cluster tells counts. */
const FOLLOWED_MS = 30_000;

/** Asks the agents of the fleet for what concerns blocks; their answers keep status and body. */
export class BlockGateway {
  readonly #deps: BlockGatewayDeps;

  constructor(deps: BlockGatewayDeps) {
    this.#deps = deps;
  }

  /** What a cluster told of its blocks; undefined when it did not. */
  of(clusterId: string): ClusterBlocks | undefined {
    return this.#deps.blocks.of(clusterId);
  }

  /** What lists lack, for people: what is of clusters that were not heard since this program's start. */
  missing(): readonly string[] {
    return this.#deps.homes.unheardClusters().map((clusterId) => {
      return `cluster ${clusterId} was not heard since the control-plane was started: what it has is missing`;
    });
  }

  /**
   * Resolves when all clusters have told what the orders that they answered did to their ledgers, or after a second: then lists
   * have what was just held.
   */
  async caughtUp(signal: AbortSignal): Promise<void> {
    const untilMs = performance.now() + CATCH_UP_MS;
    const isBehind = () => this.#deps.blocks.all().some((told) => told.isLive && told.isBehind);
    while (isBehind() && performance.now() < untilMs) await sleep(LOOK_EVERY_MS, signal);
  }

  /**
   * What all clusters, or one, told of their blocks. NOT_FOUND for a cluster that never did, UNAVAILABLE for one that had
   * some and was not heard since this program's start.
   */
  clusters(clusterId?: string): readonly ClusterBlocks[] {
    return clusterId === undefined ? this.#deps.blocks.all() : [this.#told(clusterId)];
  }

  /**
   * Where a block is. NOT_FOUND when no cluster knows it, UNAVAILABLE when the one that had it was not heard since this
   * program's start, CONFLICT, with the clusters, when several do and the client does
   * not say which one it means.
   */
  find(blockId: string, clusterId?: string): PlacedBlock {
    const name = JSON.stringify(blockId.slice(0, 100));
    if (clusterId !== undefined) {
      const told = this.#told(clusterId);
      const block = told.blocks.get(blockId);
      if (block !== undefined) return { told, block };
      throw new BerthError("NOT_FOUND", `no block ${name} on cluster ${clusterId}`);
    }
    const found = this.#deps.blocks.withBlock(blockId);
    if (found.length > 1) {
      const ids = found.map((told) => told.clusterId);
      const message = `block ${name} is on clusters ${ids.join(", ")}: say which one by cluster_id`;
      throw new BerthError("CONFLICT", message, { details: { cluster_ids: ids } });
    }
    const [told] = found;
    const block = told?.blocks.get(blockId);
    if (told !== undefined && block !== undefined) return { told, block };
    const unheard = this.#deps.homes.unheard(blockId);
    if (unheard.length > 0) throw notHeard(`block ${name} was on`, unheard);
    throw new BerthError("NOT_FOUND", `no cluster has a block ${name}`);
  }

  /** The cluster that does, or did, an operation. NOT_FOUND when none is known to. */
  findOperation(operationId: string): {
    readonly told: ClusterBlocks;
    readonly operation: OperationDocument;
  } {
    for (const told of this.#deps.blocks.all()) {
      const operation = told.operations.get(operationId);
      if (operation !== undefined) return { told, operation };
    }
    const message = `no operation ${JSON.stringify(operationId.slice(0, 100))}`;
    throw new BerthError("NOT_FOUND", `${message} that its cluster still tells of`);
  }

  /**
   * Asks an agent. UNAVAILABLE when it does not report now, so that nothing is left to be done later; NOT_FOUND,
   * DEADLINE_EXCEEDED and others as the link says.
   */
  async ask(
    clusterId: string,
    request: AgentCall,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<AgentAnswer> {
    const told = this.#deps.blocks.of(clusterId);
    if (told !== undefined && !told.isLive) {
      throw new BerthError("UNAVAILABLE", `cluster ${clusterId} is unreachable now`);
    }
    return this.#deps.agents.call(clusterId, request, options);
  }

  /**
   * Has an agent do something (`POST /executeAction`) and waits here for the end of the operation, so that no order waits
   * on the link. The answer is the one that the agent gives to those who wait. QUOTA_EXCEEDED for instances that the quota of the block
   * has no room for.
   */
  async act(action: AskedAction, signal: AbortSignal): Promise<AgentAnswer> {
    const { clusterId, fields, isCharged = false } = action;
    const coming = isCharged ? undefined : comingInstances(fields, this.of(clusterId)?.blocks);
    if (coming === undefined) return this.#act(action, signal);
    const { charges } = this.#deps;
    const charged = { ...coming, clusterId, operationId: randomUUID() };
    const leases = await charges.charge(charged);
    const settle = (end: ChargedEnd) => charges.settle(charged, end, leases);
    let answer: AgentAnswer;
    try {
      answer = await this.#act(action, signal);
    } catch (thrown) {
      await settle("unknown");
      throw thrown;
    }
    const operationId = answer.status === 202 ? acceptedId(answer.bodyJson) : undefined;
    if (operationId !== undefined) void this.#settleLater({ clusterId, operationId }, settle);
    else await settle(answer.status === 200 ? "made" : "failed");
    return answer;
  }

  /** Settles what was charged for an operation that goes on, when it is over soon enough. Never rejects. */
  async #settleLater(
    operation: { readonly clusterId: string; readonly operationId: string },
    settle: (end: ChargedEnd) => Promise<void>,
  ): Promise<void> {
    try {
      const signal = AbortSignal.timeout(FOLLOWED_MS + 1_000);
      const limits = { timeoutMs: FOLLOWED_MS, signal };
      const found = await settledOperation(this.#deps, operation, limits);
      if (found === undefined || !isSettled(found)) return;
      await settle(found.state === "done" ? "made" : "failed");
    } catch {
      // What its cluster tells counts in the end.
    }
  }

  async #act(
    { clusterId, fields, waitMs }: AskedAction,
    signal: AbortSignal,
  ): Promise<AgentAnswer> {
    const bodyJson = JSON.stringify({ ...fields, wait: false });
    const request = { method: "POST", path: "/executeAction", bodyJson } as const;
    const answer = await this.ask(clusterId, request, { timeoutMs: ACCEPT_MS, signal });
    const operationId = answer.status === 202 ? acceptedId(answer.bodyJson) : undefined;
    if (operationId === undefined || waitMs === 0) return answer;
    const limits = { timeoutMs: waitMs, signal };
    const operation = await settledOperation(this.#deps, { clusterId, operationId }, limits);
    return operation === undefined ? answer : operationAnswer(operation);
  }

  /**
   * Has an agent remove a node, and waits here for the end of the drain as {@link act} does. The answer is the agent's own:
   * asked again under the same key it tells what became of it. `path` is that of the agent, with its query.
   */
  async removeNode(clusterId: string, path: string, signal: AbortSignal): Promise<AgentAnswer> {
    const [node = "", query = ""] = path.split("?", 2);
    const asked = new URLSearchParams(query);
    if (!asked.has("idempotency_key")) asked.set("idempotency_key", randomUUID());
    const ask = () => {
      const request = { method: "DELETE", path: `${node}?${asked}` } as const;
      return this.ask(clusterId, request, { timeoutMs: ACCEPT_MS, signal });
    };
    const wait = asked.get("wait") ?? "true";
    // What is no flag is the agent's to refuse.
    if (wait !== "true") return ask();
    asked.set("wait", "false");
    const answer = await ask();
    const operationId = answer.status === 202 ? acceptedId(answer.bodyJson) : undefined;
    if (operationId === undefined) return answer;
    const limits = { timeoutMs: REMOVAL_WAIT_MS, signal };
    const operation = await settledOperation(this.#deps, { clusterId, operationId }, limits);
    if (operation === undefined || !isSettled(operation)) return answer;
    asked.set("wait", "true");
    return ask();
  }

  #told(clusterId: string): ClusterBlocks {
    const told = this.of(clusterId);
    if (told !== undefined) return told;
    const name = JSON.stringify(clusterId.slice(0, 100));
    if (this.#deps.homes.unheardClusters().includes(clusterId)) {
      throw notHeard("asked is", [clusterId]);
    }
    const message = `cluster ${name} has not told of blocks`;
    throw new BerthError("NOT_FOUND", message, { details: { cluster_id: clusterId } });
  }
}

/** The answer of an agent to one who waited for this operation. */
export function operationAnswer(operation: OperationDocument): AgentAnswer {
  const { operation_id: id, state, result, error } = operation;
  if (state === "done") {
    const warnings = operationWarnings(operation.action, result);
    const told = warnings.length === 0 ? {} : { warnings };
    const body = { success: true, data: result, operation, ...told };
    return { status: 200, bodyJson: JSON.stringify(body) };
  }
  if (!isSettled(operation)) {
    const data = { operation_id: id, state };
    return { status: 202, bodyJson: JSON.stringify({ success: true, data, operation }) };
  }
  const {
    reason = "INTERNAL",
    message = `operation ${id} is ${state}`,
    details = {},
  } = error ?? {};
  const more = { ...details, operation_id: id, operation_state: state, data: message };
  const told = toError({ reason, message, details: more });
  const body = toErrorBody(told);
  return { status: ERROR_TABLE[told.reason].http, bodyJson: JSON.stringify(body) };
}

function acceptedId(bodyJson: string): string | undefined {
  const body = parsed(bodyJson) as { readonly operation?: { readonly operation_id?: unknown } };
  const id = body?.operation?.operation_id;
  return typeof id === "string" ? id : undefined;
}
