import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import path from "node:path";
import {
  type Clock,
  type Config,
  createHttpServer,
  type DocumentStore,
  type DuplicateRules,
  duplicateRules,
  KeyedDocuments,
  type Logger,
  listening,
  openAgentIdentity,
  openSqliteDocumentStore,
  type Part,
  type ScrapedProgram,
  ScrapeRegistry,
} from "@berth/service-kit";
import type { ConnectRouter } from "@connectrpc/connect";
import { agentFamilies, NO_USAGE } from "./api/agent-families.ts";
import { addHttpRoutes } from "./api/http-routes.ts";
import { LinkCalls } from "./api/link-calls.ts";
import { type AdmitNode, nodeAdmission } from "./api/node-admission.ts";
import { type Cluster, openCluster } from "./cluster/cluster.ts";
import { defaultDeclaredCluster } from "./cluster/declared-cluster.ts";
import type { BlockSharing } from "./compose/block-sharing.ts";
import { clusterSweep } from "./compose/cluster-sweep.ts";
import { type Blocks, composeBlocks } from "./compose/compose-blocks.ts";
import { composeNodePort, type NodePort } from "./compose/compose-node-port.ts";
import { composePrechecks, type Prechecks } from "./compose/compose-prechecks.ts";
import { identityQuestion } from "./compose/compose-runtime.ts";
import { composeTelling } from "./compose/compose-telling.ts";
import type { RuntimeConfig } from "./compose/runtime-options.ts";
import { askedIdentity, MACHINE_ID_FILE, processIdentity } from "./link/cluster-identity.ts";
import { ClusterTeller } from "./link/cluster-teller.ts";
import { ControlPlaneLink, type LinkStatus } from "./link/control-plane-link.ts";
import { type LinkMemory, openLinkMemory } from "./link/link-memory.ts";
import { revisionBase } from "./link/revision.ts";
import { StateBoard } from "./link/state-board.ts";
import { telemetryEntries } from "./link/telemetry-entries.ts";
import type { NodeRegistry } from "./nodes/node-registry.ts";
import { openNodeRegistry } from "./nodes/open-node-registry.ts";
import { policyMetrics } from "./prechecks/policy-metrics.ts";
import type { OwnProcess } from "./runtime/process/process-deps.ts";
import { SAMPLING, type settings } from "./settings.ts";
import { clusterFamilies } from "./telemetry/scrape-families.ts";
import { snapshots } from "./telemetry/scrape-snapshot.ts";

/** Everything a cluster-agent is made from. */
export interface ClusterAgentOptions {
  readonly config: Config<typeof settings>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Times by which two agents of one node are told from a restart; {@link duplicateRules} by default. */
  readonly duplicateRules?: DuplicateRules;
  /** Sampling intervals that node-agents are told, in ms; {@link SAMPLING} by default. */
  readonly sampling?: { readonly gpuMs: number; readonly hostMs: number };
  /** What the process of the agent uses, for Prometheus; absent when it shares its process with others. */
  readonly usage?: ScrapedProgram["usage"];
  /** The agent's process, for local processes of blocks; absent: this agent runs no blocks. */
  readonly process?: OwnProcess;
  /** What agents of one process run blocks with together; absent: this one has all of its own. */
  readonly blockSharing?: BlockSharing;
  /** What blocks run on; processes of this machine by default. */
  readonly runtime?: RuntimeConfig;
  /** How durable the store's writes are, with a power cut in mind; "commit" by default. */
  readonly durability?: "commit" | "process";
  /** Opens the agent's store; SQLite by default. */
  readonly openStore?: typeof openSqliteDocumentStore;
}

/** A composed agent: its parts in start order, and what a process that holds it may look at. */
export interface ClusterAgent {
  readonly parts: readonly Part[];
  readonly cluster: Cluster;
  readonly nodes: NodeRegistry;
  /** NodeService and EnrolmentService without a port, for node-agents in the same process. */
  readonly nodeRoutes: (router: ConnectRouter) => void;
  readonly http: ReturnType<typeof createHttpServer>;
  /** "http://127.0.0.1:32000", with the real port once it is open. */
  readonly httpUrl: () => string;
  /** Real port of node-agents, 0 while it is closed. */
  readonly nodePort: () => number;
  readonly link: () => LinkStatus;
  /** What runs blocks; undefined when this agent runs none. */
  readonly blocks: Blocks | undefined;
}

/** Records of an agent belong to this org: one agent serves one cluster, whoever owns it. */
const ORG_ID = "default_org";
const AGENT_VERSION = "0.1.0";

/**
 * Puts a cluster-agent together. Opens the store of its data directory and raises the agent's
 * incarnation; rejects with a message that names the file when that fails. Listens when started.
 */
export async function composeClusterAgent(options: ClusterAgentOptions): Promise<ClusterAgent> {
  const { openStore = openSqliteDocumentStore } = options;
  const store = openStore(
    path.join(options.config.dataDir, "cluster.db"),
    options.clock,
    options.durability === undefined ? {} : { durability: options.durability },
  );
  try {
    return await composeOn(store, options);
  } catch (thrown) {
    await store.close();
    throw thrown;
  }
}

/** The pieces that more than one part of the agent is made from. */
interface Core extends ClusterAgentOptions {
  readonly store: DocumentStore;
  readonly memory: LinkMemory;
  readonly agentIncarnation: bigint;
  readonly intervals: { readonly gpuMs: number; readonly hostMs: number; readonly ttlMs: number };
  readonly nodes: NodeRegistry;
}

async function composeOn(
  store: DocumentStore,
  options: ClusterAgentOptions,
): Promise<ClusterAgent> {
  const { config, clock, logger } = options;
  const agentIncarnation = BigInt(await store.raise("agent_incarnation"));
  const intervals = { ...(options.sampling ?? SAMPLING), ttlMs: config.nodeTtlMs };
  const linkCalls = new LinkCalls(ORG_ID);
  const http = createHttpServer({
    origins: { allowedHosts: config.allowedHosts, allowedOrigins: config.allowedOrigins },
    authenticate: linkCalls.authenticate,
    logger,
  });
  const memory = await openLinkMemory({
    ...{ store, orgId: ORG_ID, clock, logger },
    api: (request, signal) => linkCalls.call(http, request, signal),
    ledgerRevision: () => blocks?.ledger.status.revision ?? 0n,
  });
  const nodes = await openNodes({ ...options, store, intervals, memory });
  const core: Core = { ...options, store, memory, agentIncarnation, intervals, nodes };
  const nodePort = await composeNodePort({
    ...{ ...core, orgId: ORG_ID },
    admit: (asked, signal) => admit(asked, signal),
  });
  const retireNode = nodeRetirement(nodes, nodePort);
  const httpUrl = () => baseUrl(config.host, openPort(http.server.address()) ?? config.httpPort);
  const cluster = await composeCluster(core, httpUrl);
  const board = new StateBoard(agentIncarnation, clock);
  const link = await composeLink(core, board);
  const blocks = await composeBlocksOf(core, { cluster, link, retireNode });
  const prechecks = await composePrechecks({
    ...{ store, orgId: ORG_ID, cluster, policies: blocks?.policies, clock, logger },
    onEvent: (event) => memory.outbox.tell(event),
  });
  const admit = nodeAdmissionOf(core, cluster, prechecks);
  addHttpRoutes(http, {
    ...{ cluster, blocks, nodes, prechecks, retireNode },
    enrolment: nodePort.enrolment,
    link: () => link.status(),
    nodePortOpen: () => nodePort.server.port !== 0,
    checkStore: () => store.storeId(),
    scraped: composeScrape(core, link),
    fenceOf: (principal) => linkCalls.fenceOf(principal),
  });
  const httpAddress = {
    ...{ host: config.host, hostSetting: "BERTH_HOST" },
    ...{ port: config.httpPort, setting: "BERTH_HTTP_PORT" },
  };
  const onEvent = memory.outbox.tell.bind(memory.outbox);
  const teller = new ClusterTeller({ board, logger, onEvent });
  const telling = composeTelling({ cluster, blocks, board, teller, clock, logger });
  return {
    parts: [
      { name: "store", start: async () => {}, stop: () => store.close() },
      nodePort.server,
      ...(blocks?.parts ?? []),
      listening(http, httpAddress, "http"),
      ...telling.parts,
      clusterSweep({ nodes, tell: telling.tell, clock, logger }),
      link,
    ],
    cluster,
    nodes,
    nodeRoutes: nodePort.routes,
    http,
    httpUrl,
    nodePort: () => nodePort.server.port,
    link: () => link.status(),
    blocks,
  };
}

/** What runs blocks, where there is a process of the agent's own. */
async function composeBlocksOf(
  core: Core,
  {
    cluster,
    link,
    retireNode,
  }: {
    readonly cluster: Cluster;
    readonly link: ControlPlaneLink;
    readonly retireNode: RetireNode;
  },
): Promise<Blocks | undefined> {
  const { config, store, nodes, memory, clock, logger, agentIncarnation, process: own } = core;
  if (own === undefined) return undefined;
  const { clusterId, dataDir } = config;
  return composeBlocks({
    ...{ store, orgId: ORG_ID, clusterId, dataDir, nodes, cluster, process: own, clock, logger },
    sandboxDir: config.sandboxDir === "" ? path.join(dataDir, "sandbox") : config.sandboxDir,
    ...{ shared: core.blockSharing, runtime: core.runtime },
    fetchPolicy: (uri, digest, signal) => link.fetchPolicy(uri, digest, signal),
    retireNode,
    revisionBase: revisionBase(agentIncarnation),
    obeyedStoreId: () => memory.fences.known?.storeId,
  });
}

/** Forgets an empty node, and refuses it from then on; may be called again. */
type RetireNode = (nodeId: string, operationId: string) => Promise<void>;

/** First it is refused, then forgotten: an agent that asks in between is not let in. */
function nodeRetirement(nodes: NodeRegistry, { enrolment }: NodePort): RetireNode {
  return async (nodeId, operationId) => {
    await nodes.roster.step(nodeId, { kind: "retire", operationId });
    await nodes.remove(nodeId, { force: true, forgetKey: () => enrolment.forget(nodeId) });
  };
}

function nodeAdmissionOf(
  { nodes, clock }: Core,
  cluster: Cluster,
  { checker }: Prechecks,
): AdmitNode {
  return nodeAdmission({
    ...{ prechecks: checker, nodes, clock },
    clusterDocument: () => cluster.document(),
    clusterMetrics: () => policyMetrics(cluster.metrics()),
  });
}

/** The nodes that the store knows, with what was decided about duplicates of them. */
function openNodes(
  given: ClusterAgentOptions & Pick<Core, "store" | "intervals" | "memory">,
): Promise<NodeRegistry> {
  const { store, clock, logger, intervals, memory } = given;
  return openNodeRegistry({
    records: new KeyedDocuments({ store, orgId: ORG_ID, collection: "nodes" }),
    standings: new KeyedDocuments({ store, orgId: ORG_ID, collection: "node_standings" }),
    lifecycles: new KeyedDocuments({ store, orgId: ORG_ID, collection: "node_lifecycles" }),
    clock,
    logger,
    intervals,
    duplicateRules: given.duplicateRules ?? duplicateRules(intervals),
    onEvent: (event) => memory.outbox.tell(event),
  });
}

function composeCluster({ config, store, nodes }: Core, httpUrl: () => string): Promise<Cluster> {
  const { clusterId, regionId, clusterTags: tags } = config;
  const defaults = defaultDeclaredCluster({ clusterId, regionId, tags });
  return openCluster({ clusterId, orgId: ORG_ID, store, nodes, defaults, baseUrl: httpUrl });
}

async function composeLink(core: Core, board: StateBoard): Promise<ControlPlaneLink> {
  const { config, clock, logger, memory, nodes, agentIncarnation } = core;
  const base = revisionBase(agentIncarnation);
  return new ControlPlaneLink({
    facts: {
      clusterId: config.clusterId,
      ...(await identityOf(core)),
      agentIncarnation,
      agentVersion: AGENT_VERSION,
      agentInstanceId: randomUUID(),
      board,
      telemetry: () => telemetryEntries(nodes.views(), nodes.version, base),
    },
    ...memory,
    url: config.controlPlaneUrl,
    identity: await openAgentIdentity({
      directory: config.dataDir,
      server: "control-plane",
      url: config.controlPlaneUrl,
      enrolmentToken: config.enrolmentToken,
      caFile: config.caFile,
    }),
    clock,
    logger,
  });
}

/** What the cluster id is bound to: the Kubernetes cluster, or this machine. */
async function identityOf({ store, runtime: config, process: own }: Core) {
  const ask = own && identityQuestion({ config, process: own });
  if (ask === undefined) {
    return { identity: await processIdentity(store, ORG_ID, MACHINE_ID_FILE) };
  }
  const identity = await askedIdentity(store, ORG_ID, ask);
  return { identity, identityKind: "kubernetes" as const };
}

function composeScrape(core: Core, link: ControlPlaneLink): ScrapeRegistry {
  const { config, clock, nodes, store, memory, usage = NO_USAGE } = core;
  const program = { program: "cluster-agent", version: AGENT_VERSION, usage };
  const scraped = new ScrapeRegistry(program);
  const snapshot = snapshots(() => nodes.views(), clock);
  scraped.add(...clusterFamilies(config.clusterId, snapshot));
  scraped.add(...agentFamilies({ link: () => link.status(), outbox: memory.outbox, store }));
  return scraped;
}

function openPort(address: AddressInfo | string | null): number | undefined {
  return typeof address === "object" && address !== null ? address.port : undefined;
}

function baseUrl(host: string, port: number): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
