import type { ClusterDocument } from "@berth/proto";
import {
  type ApplyOutcome,
  BerthError,
  compileFilter,
  type DocumentStore,
  isJsonObject,
  parse,
  parseLossless,
  plainOf,
  QueryRunner,
  type StoredDocument,
  unfitForPolicies,
  updateLossless,
  type Write,
} from "@berth/service-kit";
import type { AgentSessions } from "./agent-sessions.ts";
import { ClusterDocumentBody, checkNodeIds } from "./cluster-body.ts";
import type { ClusterView, FleetSnapshot } from "./cluster-view.ts";

const COLLECTION = "clusters";

/**
 * A registered document as the store has it: its text, so that numbers stay as they were written. Older
 * versions of Berth stored the document itself.
 */
type StoredCluster = string | ClusterDocument;

interface Cached {
  readonly writes: number;
  readonly agentsVersion: number;
  readonly snapshot: FleetSnapshot;
}

/** What {@link ClusterRegistry} needs. */
export interface ClusterRegistryDeps {
  readonly store: DocumentStore;
  readonly agents: Pick<AgentSessions, "version" | "views">;
  /** Forgets a cluster's agent; gives whether there was one. */
  readonly forget: (
    orgId: string,
    id: string,
    options: { readonly force?: boolean },
  ) => Promise<boolean>;
  /** A cluster was removed: whoever has its id next is another one. Must not throw. */
  readonly onRemoved?: (orgId: string, id: string) => void;
}

/**
 * Every cluster of an org: those with an agent, as the agent describes them, and those registered by
 * REST, whose documents live in the store. An agent's description hides a registered document of the
 * same id.
 */
export class ClusterRegistry {
  readonly #deps: ClusterRegistryDeps;
  readonly #queries = new QueryRunner();
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
    const documentOf = (view: ClusterView) => view.document;
    return this.#queries.select({ items: clusters.values(), matches, documentOf, field: "query" });
  }

  /**
   * Registers a cluster without an agent; ALREADY_EXISTS when the id is taken. Numbers of the body that
   * are kept as text (`parseLossless`) stay as they were written.
   */
  async create(orgId: string, body: unknown): Promise<ClusterView> {
    const document = registered(body);
    const { id } = document;
    const taken = this.#agentView(orgId, id) !== undefined;
    const key = { orgId, collection: COLLECTION, id };
    const stored: StoredCluster = JSON.stringify(document);
    const outcome = taken
      ? undefined
      : await this.#write(orgId, { kind: "insert", key, body: stored });
    if (outcome?.kind !== "applied") {
      throw new BerthError("ALREADY_EXISTS", `id: cluster ${id} exists already`);
    }
    return registeredView({ orgId, id, body: stored, revision: 1 });
  }

  /**
   * Updates a registered cluster (`$set`… or plain fields), with numbers as {@link create} takes them; an
   * agent's cluster is changed at its agent.
   */
  async update(orgId: string, id: string, update: unknown): Promise<ClusterView> {
    const agentView = this.#agentView(orgId, id);
    if (agentView !== undefined) throw ownedByAgent(agentView);
    const key = { orgId, collection: COLLECTION, id };
    const current = await this.#deps.store.get<StoredCluster>(key);
    if (current === undefined) throw notFound(id);
    const document = parseLossless(textOf(current.body)) as Record<string, unknown>;
    const stored: StoredCluster = JSON.stringify(
      registered(updateLossless(document, update, ["id"])),
    );
    const { revision } = current;
    const write = { kind: "replace", key, body: stored, ifRevision: revision } as const;
    const outcome = await this.#write(orgId, write);
    if (outcome.kind === "refused") {
      throw new BerthError("CONFLICT", `cluster ${id} changed at the same time; try again`);
    }
    return registeredView({ orgId, id, body: stored, revision: revision + 1 });
  }

  /**
   * Removes a registered cluster, or forgets an agent's cluster and ends the agent's key. PRECONDITION_FAILED
   * when the agent is connected, unless `force` cuts it off.
   */
  async remove(
    orgId: string,
    id: string,
    options: { readonly force?: boolean } = {},
  ): Promise<void> {
    const forgotten = await this.#deps.forget(orgId, id, options);
    const key = { orgId, collection: COLLECTION, id };
    const outcome = await this.#write(orgId, { kind: "delete", key });
    if (outcome.kind === "refused" && !forgotten) throw notFound(id);
    this.#deps.onRemoved?.(orgId, id);
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
    const stored = await this.#deps.store.list<StoredCluster>({ orgId, collection: COLLECTION });
    return new Map(stored.map((found) => [found.id, registeredView(found)]));
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

/**
 * Checks a document to register, fills in the parts that decisions rely on, and keeps all else as it was
 * written. INVALID_ARGUMENT names the bad field.
 */
function registered(body: unknown): Record<string, unknown> & { readonly id: string } {
  const problem = unfitForPolicies(body);
  if (problem !== undefined) {
    throw new BerthError("INVALID_ARGUMENT", `the cluster document: ${problem}`);
  }
  const { id, nodes } = parse(ClusterDocumentBody, plainOf(body));
  const nodeData = nodes?.nodeData ?? [];
  checkNodeIds(nodeData);
  const written = body as Record<string, Record<string, unknown>>;
  const filled = { count: nodeData.length, nodeData, ...written.nodes };
  return { status: "live", tags: [], ...written, id, nodes: filled };
}

function textOf(body: StoredCluster): string {
  return typeof body === "string" ? body : JSON.stringify(body);
}

type RegisteredCluster = Pick<StoredDocument<StoredCluster>, "orgId" | "id" | "body" | "revision">;

function registeredView({ orgId, id, body, revision }: RegisteredCluster): ClusterView {
  const documentJson = textOf(body);
  return {
    id,
    orgId,
    health: "unknown",
    document: JSON.parse(documentJson),
    documentJson,
    metricsJson: null,
    metrics: null,
    nodes: new Map(),
    nodesAtMs: new Map(),
    reportedAtMs: null,
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
