import type { AgentRegisterRequest } from "@berth/proto";
import {
  type AgentInstance,
  allPages,
  BerthError,
  type DocumentStore,
  type Write,
} from "@berth/service-kit";
import { boundElsewhere } from "./check-register.ts";

const COLLECTION = "cluster_bindings";

/** The newest start of a cluster's agent. Records of older versions also bound the identity, which still counts. */
interface Binding {
  readonly identity: string;
  /** Decimal. */
  readonly incarnation: string;
  /** UUID of the agent's process; absent in records of older versions. */
  readonly instanceId?: string;
  /** An operator has picked another agent than this one, which may have done what that one does not know of. */
  readonly isDoubted?: boolean;
}

/** What is known of an agent that registers. */
export interface Descent {
  /**
   * The agent does not descend from the start that was answered last: its state is an older copy, or begun
   * anew.
   */
  readonly isRestored: boolean;
  /** It is another process than the one that was answered last. */
  readonly isAnother: boolean;
  /** What {@link AgentBindings.bind} writes; undefined when the store has it. */
  readonly write: Write | undefined;
}

/** The durable memory of each cluster's newest agent process. */
export class AgentBindings {
  readonly #store: DocumentStore;
  readonly #orgId: string;

  constructor(store: DocumentStore, orgId: string) {
    this.#store = store;
    this.#orgId = orgId;
  }

  /** The process that was answered last, by cluster id; records of older versions name none. */
  async holders(): Promise<ReadonlyMap<string, AgentInstance>> {
    const { orgId } = this.#key("");
    const holders = new Map<string, AgentInstance>();
    const all = allPages<Binding>(this.#store, { orgId, collection: COLLECTION });
    for await (const { id, body } of all) {
      const { instanceId, incarnation } = body;
      if (instanceId === undefined) continue;
      holders.set(id, { instanceId, incarnation: Number(incarnation), bootId: "" });
    }
    return holders;
  }

  /**
   * Compares the agent that registers with the one that was answered last. ALREADY_EXISTS when an older
   * record binds the id to another identity.
   */
  async descent(request: AgentRegisterRequest, identity: string): Promise<Descent> {
    const key = this.#key(request.clusterId);
    const bound = await this.#store.get<Binding>(key);
    const { agentInstanceId: instanceId } = request;
    const incarnation = String(request.agentIncarnation);
    const body: Binding = { identity, incarnation, instanceId };
    if (bound === undefined) {
      return { isRestored: false, isAnother: true, write: { kind: "insert", key, body } };
    }
    if (bound.body.identity !== identity) throw boundElsewhere(request.clusterId);
    const isRestored = bound.body.isDoubted === true || !descends(bound.body, request);
    const isAnother = bound.body.instanceId !== instanceId;
    const isSame = bound.body.incarnation === incarnation && !isAnother;
    if (isSame && !isRestored) return { isRestored, isAnother, write: undefined };
    const write: Write = { kind: "replace", key, body, ifRevision: bound.revision };
    return { isRestored, isAnother, write };
  }

  /** Remembers the process that registers; durable when it resolves. */
  async bind({ write }: Pick<Descent, "write">): Promise<void> {
    if (write === undefined) return;
    const outcome = await this.#store.apply([write]);
    if (outcome.kind === "refused") {
      throw new BerthError("CONFLICT", `cluster_id: ${write.key.id} registers twice at once`);
    }
  }

  /**
   * An operator picks an agent: unless it is the one that was answered last, nobody knows what that one has
   * done beside it, and the next registration counts as restored.
   */
  async picked(clusterId: string, instanceId: string): Promise<void> {
    const key = this.#key(clusterId);
    const bound = await this.#store.get<Binding>(key);
    if (bound === undefined || bound.body.instanceId === instanceId) return;
    const body: Binding = { ...bound.body, isDoubted: true };
    await this.bind({ write: { kind: "replace", key, body } });
  }

  /** Whether a cluster's agent has ever registered. */
  async has(clusterId: string): Promise<boolean> {
    return (await this.#store.get(this.#key(clusterId))) !== undefined;
  }

  /** Forgets a cluster; gives whether it was known. */
  async forget(clusterId: string): Promise<boolean> {
    const outcome = await this.#store.apply([{ kind: "delete", key: this.#key(clusterId) }]);
    return outcome.kind === "applied";
  }

  #key(clusterId: string) {
    return { orgId: this.#orgId, collection: COLLECTION, id: clusterId };
  }
}

/** Whether the agent knows of the start that was answered last. Of older records only numbers are known. */
function descends(bound: Binding, request: AgentRegisterRequest): boolean {
  const { instanceId } = bound;
  if (instanceId === undefined) return request.agentIncarnation >= BigInt(bound.incarnation);
  return request.agentInstanceId === instanceId || request.formerInstanceIds.includes(instanceId);
}
