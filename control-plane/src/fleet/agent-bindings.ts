import type { AgentRegisterRequest } from "@berth/proto";
import { BerthError, type DocumentStore, type Logger } from "@berth/service-kit";
import { boundElsewhere } from "./check-register.ts";

const COLLECTION = "cluster_bindings";

/** The newest start of a cluster's agent. Records of older versions also bound the identity, which still counts. */
interface Binding {
  readonly identity: string;
  /** Decimal. */
  readonly incarnation: string;
  /** UUID of the agent's process; absent in records of older versions. */
  readonly instanceId?: string;
}

/** What is known of the agent that registers. */
export interface BindOutcome {
  /**
   * The agent's state is an older copy: its incarnation is lower than the newest, or another process
   * has the newest one, which each start raises.
   */
  readonly isRestored: boolean;
}

/** The durable memory of each cluster's newest agent incarnation. */
export class AgentBindings {
  readonly #store: DocumentStore;
  readonly #logger: Logger;

  constructor(store: DocumentStore, logger: Logger) {
    this.#store = store;
    this.#logger = logger;
  }

  /**
   * Remembers the incarnation that registers. ALREADY_EXISTS when an older record binds the id to
   * another identity; CONFLICT when the cluster registers twice at once.
   */
  async bind(orgId: string, request: AgentRegisterRequest, identity: string): Promise<BindOutcome> {
    const key = { orgId, collection: COLLECTION, id: request.clusterId };
    const bound = await this.#store.get<Binding>(key);
    if (bound !== undefined && bound.body.identity !== identity) {
      throw boundElsewhere(request.clusterId);
    }
    const isRestored = bound !== undefined && this.#isOlderCopy(bound.body, request);
    const body: Binding = {
      identity,
      incarnation: String(request.agentIncarnation),
      instanceId: request.agentInstanceId,
    };
    if (bound?.body.incarnation === body.incarnation && bound.body.instanceId === body.instanceId) {
      return { isRestored };
    }
    const outcome = await this.#store.apply([
      bound === undefined
        ? { kind: "insert", key, body }
        : { kind: "replace", key, body, ifRevision: bound.revision },
    ]);
    if (outcome.kind === "refused") {
      throw new BerthError("CONFLICT", `cluster_id: ${request.clusterId} registers twice at once`);
    }
    return { isRestored };
  }

  /** Whether a cluster's agent has ever registered. */
  async has(orgId: string, clusterId: string): Promise<boolean> {
    const key = { orgId, collection: COLLECTION, id: clusterId };
    return (await this.#store.get(key)) !== undefined;
  }

  /** Forgets a cluster; gives whether it was known. */
  async forget(orgId: string, clusterId: string): Promise<boolean> {
    const key = { orgId, collection: COLLECTION, id: clusterId };
    return (await this.#store.apply([{ kind: "delete", key }])).kind === "applied";
  }

  #isOlderCopy(bound: Binding, request: AgentRegisterRequest): boolean {
    const newest = BigInt(bound.incarnation);
    const another = bound.instanceId !== undefined && bound.instanceId !== request.agentInstanceId;
    const isOlder =
      request.agentIncarnation < newest || (request.agentIncarnation === newest && another);
    if (isOlder) {
      this.#logger.warn("an agent came back with older state", {
        cluster_id: request.clusterId,
        agent_incarnation: String(request.agentIncarnation),
        newest_incarnation: bound.incarnation,
      });
    }
    return isOlder;
  }
}
