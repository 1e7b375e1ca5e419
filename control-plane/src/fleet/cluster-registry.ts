import type { ClusterDocument } from "@berth/proto";
import {
  type ApplyOutcome,
  applyUpdate,
  BerthError,
  compileFilter,
  type DocumentStore,
  isJsonObject,
  parse,
  type Write,
} from "@berth/service-kit";
import type { AgentSessions } from "./agent-sessions.ts";
import { ClusterDocumentBody, checkNodeIds, unfitForPolicies } from "./cluster-body.ts";
import type { ClusterView, FleetSnapshot } from "./cluster-view.ts";

const COLLECTION = "clusters";

interface Cached {
  readonly writes: number;
  readonly agentsVersion: number;
  readonly snapshot: FleetSnapshot;
}

/** What {@link ClusterRegistry} needs. */
export interface ClusterRegistryDeps {
  readonly store: DocumentStore;
  readonly agents: AgentSessions;
}

/**
 * Every cluster of an org: those with an agent, as the agent describes them, and those registered by
 * REST, whose documents live in the store. An agent's description hides a registered document of the
 * same id.
 */
export class ClusterRegistry {
  readonly #deps: ClusterRegistryDeps;
  /** Registered clusters by org, as the store has them: this process alone writes them. */
  readonly #registered = new Map<string, Promise<ReadonlyMap<string, ClusterView>>>();
  readonly #cached = new Map<string, Cached>();
  #revision = 0;
  #writes = 0;

  constructor(deps: ClusterRegistryDeps) {
    this.#deps = deps;
  }

  /** All clusters of an org, as they are now; the views never change afterwards. */
  async snapshot(orgId: string): Promise<FleetSnapshot> {
    const writes = this.#writes;
    const registered = await this.#registeredOf(orgId);
    const agentsVersion = this.#deps.agents.version;
    const cached = this.#cached.get(orgId);
    if (cached?.writes === writes && cached.agentsVersion === agentsVersion) return cached.snapshot;
    const views = new Map(registered);
    for (const view of this.#deps.agents.views(orgId)) views.set(view.id, view);
    const clusters = new Map([...views].sort(([a], [b]) => (a < b ? -1 : 1)));
    this.#revision += 1;
    const snapshot = { revision: this.#revision, clusters };
    this.#cached.set(orgId, { writes, agentsVersion, snapshot });
    return snapshot;
  }

  /** One cluster; NOT_FOUND when there is none. */
  async get(orgId: string, id: string): Promise<ClusterView> {
    const view = (await this.snapshot(orgId)).clusters.get(id);
    if (view === undefined) throw notFound(id);
    return view;
  }

  /** Clusters whose documents match a MongoDB-style filter; all without one. */
  async query(orgId: string, filter: unknown): Promise<readonly ClusterView[]> {
    const matches = compileFilter(filter ?? {});
    const { clusters } = await this.snapshot(orgId);
    return [...clusters.values()].filter((view) => matches(view.document));
  }

  /** Registers a cluster without an agent; ALREADY_EXISTS when the id is taken. */
  async create(orgId: string, body: unknown): Promise<ClusterView> {
    const document = normalized(parse(ClusterDocumentBody, body));
    const taken = this.#agentView(orgId, document.id) !== undefined;
    const key = { orgId, collection: COLLECTION, id: document.id };
    const outcome = taken
      ? undefined
      : await this.#write(orgId, { kind: "insert", key, body: document });
    if (outcome?.kind !== "applied") {
      throw new BerthError("ALREADY_EXISTS", `id: cluster ${document.id} exists already`);
    }
    return registeredView(orgId, document, 1);
  }

  /** Updates a registered cluster (`$set`… or plain fields); an agent's cluster is changed at its agent. */
  async update(orgId: string, id: string, update: unknown): Promise<ClusterView> {
    const agentView = this.#agentView(orgId, id);
    if (agentView !== undefined) throw ownedByAgent(agentView);
    const key = { orgId, collection: COLLECTION, id };
    const current = await this.#deps.store.get<ClusterDocument>(key);
    if (current === undefined) throw notFound(id);
    const changed = applyUpdate(current.body, update, ["id"]);
    const document = normalized(parse(ClusterDocumentBody, changed));
    const outcome = await this.#write(orgId, {
      kind: "replace",
      key,
      body: document,
      ifRevision: current.revision,
    });
    if (outcome.kind === "refused") {
      throw new BerthError("CONFLICT", `cluster ${id} changed at the same time; try again`);
    }
    return registeredView(orgId, document, current.revision + 1);
  }

  /** Removes a registered cluster, or forgets an agent's cluster whose agent has gone. */
  async remove(orgId: string, id: string): Promise<void> {
    const forgotten = await this.#deps.agents.forget(orgId, id);
    const key = { orgId, collection: COLLECTION, id };
    const outcome = await this.#write(orgId, { kind: "delete", key });
    if (outcome.kind === "refused" && !forgotten) throw notFound(id);
  }

  #registeredOf(orgId: string): Promise<ReadonlyMap<string, ClusterView>> {
    const known = this.#registered.get(orgId);
    if (known !== undefined) return known;
    const loading = this.#load(orgId);
    this.#registered.set(orgId, loading);
    // A store that failed once is asked again.
    loading.catch(() => this.#registered.delete(orgId));
    return loading;
  }

  async #load(orgId: string): Promise<ReadonlyMap<string, ClusterView>> {
    const stored = await this.#deps.store.list<ClusterDocument>({ orgId, collection: COLLECTION });
    return new Map(
      stored.map(({ id, body, revision }) => [id, registeredView(orgId, body, revision)]),
    );
  }

  async #write(orgId: string, write: Write): Promise<ApplyOutcome> {
    try {
      return await this.#deps.store.apply([write]);
    } finally {
      this.#writes += 1;
      this.#registered.delete(orgId);
    }
  }

  #agentView(orgId: string, id: string): ClusterView | undefined {
    return this.#deps.agents.views(orgId).find((view) => view.id === id);
  }
}

/** Fills in the parts of a registered document that decisions rely on, and keeps all other keys. */
function normalized(body: Record<string, unknown>): ClusterDocument {
  const document = body as unknown as Partial<ClusterDocument> & { id: string };
  checkNodeIds(document);
  const problem = unfitForPolicies(body);
  if (problem !== undefined) {
    throw new BerthError("INVALID_ARGUMENT", `the cluster document: ${problem}`);
  }
  const nodeData = document.nodes?.nodeData ?? [];
  const nodes = { ...document.nodes, count: document.nodes?.count ?? nodeData.length, nodeData };
  return { status: "live", tags: [], ...document, nodes } as unknown as ClusterDocument;
}

function registeredView(orgId: string, document: ClusterDocument, revision: number): ClusterView {
  return {
    id: document.id,
    orgId,
    health: "unknown",
    document,
    documentJson: JSON.stringify(document),
    metricsJson: null,
    metrics: null,
    nodes: new Map(),
    revision,
  };
}

function notFound(id: string): BerthError {
  return new BerthError("NOT_FOUND", "Cluster not found", { details: { cluster_id: id } });
}

function ownedByAgent(view: ClusterView): BerthError {
  const { urlMap } = view.document.config ?? {};
  const url = isJsonObject(urlMap) ? urlMap.controllerService : undefined;
  const where = typeof url === "string" ? url : "its cluster-agent";
  const message = `cluster ${view.id} is described by its agent; change it with PATCH ${where}/cluster-actions/update-cluster`;
  return new BerthError("PRECONDITION_FAILED", message);
}
