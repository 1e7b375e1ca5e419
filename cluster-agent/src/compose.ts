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
  type Enrolment,
  KeyedDocuments,
  type ListenAddress,
  type Logger,
  listening,
  loopbackAuthenticator,
  openAgentIdentity,
  openEnrolment,
  openPortSecurity,
  openSqliteDocumentStore,
  type Part,
  type PortSecurity,
  type ScrapedProgram,
  ScrapeRegistry,
} from "@berth/service-kit";
import type { ConnectRouter } from "@connectrpc/connect";
import { agentFamilies, NO_USAGE } from "./api/agent-families.ts";
import { addHttpRoutes } from "./api/http-routes.ts";
import { enrolmentRoutes } from "./api/node-enrolment.ts";
import { createNodeServer } from "./api/node-server.ts";
import { nodeRoutes } from "./api/node-service.ts";
import { type Cluster, openCluster } from "./cluster/cluster.ts";
import { defaultDeclaredCluster } from "./cluster/declared-cluster.ts";
import { MACHINE_ID_FILE, processIdentity } from "./link/cluster-identity.ts";
import { ClusterTeller } from "./link/cluster-teller.ts";
import { ControlPlaneLink, type LinkStatus } from "./link/control-plane-link.ts";
import { type LinkMemory, openLinkMemory } from "./link/link-memory.ts";
import { revisionBase } from "./link/revision.ts";
import { StateBoard } from "./link/state-board.ts";
import { telemetryEntries } from "./link/telemetry-entries.ts";
import type { NodeRegistry } from "./nodes/node-registry.ts";
import { openNodeRegistry } from "./nodes/open-node-registry.ts";
import { periodic } from "./periodic.ts";
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
  /** How durable the store's writes are, with a power cut in mind; "commit" by default. */
  readonly durability?: "commit" | "process";
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
}

/** Records of an agent belong to this org: one agent serves one cluster, whoever owns it. */
const ORG_ID = "default_org";
const AGENT_VERSION = "0.1.0";
/** Changes of the cluster document are gathered for so long before they are sent. */
const SWEEP_INTERVAL_MS = 250;
/** Sweeps that are further apart than this, ms: the process was kept from its work. */
const STALL_MS = 4 * SWEEP_INTERVAL_MS;

/**
 * Puts a cluster-agent together. Opens the store of its data directory and raises the agent's
 * incarnation; rejects with a message that names the file when that fails. Listens when started.
 */
export async function composeClusterAgent(options: ClusterAgentOptions): Promise<ClusterAgent> {
  const store = openSqliteDocumentStore(
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
  readonly enrolment: Enrolment;
  readonly nodePortSecurity: PortSecurity;
}

async function composeOn(
  store: DocumentStore,
  options: ClusterAgentOptions,
): Promise<ClusterAgent> {
  const { config, clock, logger } = options;
  const agentIncarnation = BigInt(await store.raise("agent_incarnation"));
  const intervals = { ...(options.sampling ?? SAMPLING), ttlMs: config.nodeTtlMs };
  const memory = await openLinkMemory({ store, orgId: ORG_ID, clock, logger });
  const nodes = await openNodes({ ...options, store, intervals, memory });
  const { dataDir: directory, nodeNames: names, localToken } = config;
  const nodePortSecurity = await openPortSecurity({ host: nodeHost(config), directory, names });
  const { caPin } = nodePortSecurity;
  const keep = { store, orgId: ORG_ID, clock, logger };
  const enrolment = await openEnrolment({
    ...keep,
    ...{ subject: "node", localToken, caPin },
    onKeyEnded: (nodeId) => nodes.keys.ended(nodeId),
    onSecondRefused: (nodeId, why) => nodes.keys.secondRefused(nodeId, why),
    refuseReplacement: (nodeId) => nodes.keys.refuseReplacement(nodeId),
    onKeyReplacing: (nodeId, replace) => nodes.keys.replacing(nodeId, replace),
    onKeyGiven: (nodeId) => nodes.keys.given(nodeId),
  });
  const own = { store, memory, agentIncarnation, intervals, enrolment, nodePortSecurity };
  const core: Core = { ...options, ...own, nodes };
  const http = createHttpServer({
    origins: { allowedHosts: config.allowedHosts, allowedOrigins: config.allowedOrigins },
    authenticate: loopbackAuthenticator(ORG_ID),
    logger,
  });
  const httpUrl = () => baseUrl(config.host, openPort(http.server.address()) ?? config.httpPort);
  const cluster = await composeCluster(core, httpUrl);
  const nodePort = composeNodePort(core);
  const board = new StateBoard(agentIncarnation, clock);
  const link = await composeLink(core, board);
  addHttpRoutes(http, {
    cluster,
    nodes,
    enrolment,
    link: () => link.status(),
    nodePortOpen: () => nodePort.server.port !== 0,
    checkStore: () => store.storeId(),
    scraped: composeScrape(core, link),
  });
  const httpAddress = {
    ...{ host: config.host, hostSetting: "BERTH_HOST" },
    ...{ port: config.httpPort, setting: "BERTH_HTTP_PORT" },
  };
  const onEvent = memory.outbox.tell.bind(memory.outbox);
  const task = sweepTask(core, cluster, new ClusterTeller({ board, logger, onEvent }));
  return {
    parts: [
      { name: "store", start: async () => {}, stop: () => store.close() },
      nodePort.server,
      listening(http, httpAddress, "http"),
      periodic("sweep", { intervalMs: SWEEP_INTERVAL_MS, logger, task }),
      link,
    ],
    cluster,
    nodes,
    nodeRoutes: nodePort.routes,
    http,
    httpUrl,
    nodePort: () => nodePort.server.port,
    link: () => link.status(),
  };
}

/** The nodes that the store knows, with what was decided about duplicates of them. */
function openNodes(
  given: ClusterAgentOptions & Pick<Core, "store" | "intervals" | "memory">,
): Promise<NodeRegistry> {
  const { store, clock, logger, intervals, memory } = given;
  return openNodeRegistry({
    records: new KeyedDocuments({ store, orgId: ORG_ID, collection: "nodes" }),
    standings: new KeyedDocuments({ store, orgId: ORG_ID, collection: "node_standings" }),
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

function composeNodePort(core: Core) {
  const { config, nodes, enrolment, logger, intervals } = core;
  const stopping = new AbortController();
  const { clusterId } = config;
  const { authenticate } = enrolment;
  const about = { clusterId, nodes, authenticate, logger, intervals };
  const addNodes = nodeRoutes({ ...about, stopping: stopping.signal });
  const addEnrolment = enrolmentRoutes(enrolment);
  const routes = (router: ConnectRouter) => {
    addNodes(router);
    addEnrolment(router);
  };
  const server = createNodeServer({
    routes,
    guard: enrolment,
    tls: core.nodePortSecurity.tls,
    address: nodeAddress(config),
    logger,
    stopping,
  });
  return { routes, server };
}

async function composeLink(core: Core, board: StateBoard): Promise<ControlPlaneLink> {
  const { config, clock, logger, store, memory, nodes, agentIncarnation } = core;
  const base = revisionBase(agentIncarnation);
  return new ControlPlaneLink({
    facts: {
      clusterId: config.clusterId,
      identity: await processIdentity(store, ORG_ID, MACHINE_ID_FILE),
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

function composeScrape(core: Core, link: ControlPlaneLink): ScrapeRegistry {
  const { config, clock, nodes, store, memory, usage = NO_USAGE } = core;
  const program = { program: "cluster-agent", version: AGENT_VERSION, usage };
  const scraped = new ScrapeRegistry(program);
  const snapshot = snapshots(() => nodes.views(), clock);
  scraped.add(...clusterFamilies(config.clusterId, snapshot));
  scraped.add(...agentFamilies({ link: () => link.status(), outbox: memory.outbox, store }));
  return scraped;
}

/** Looks for nodes that fell silent and tells the cluster document when it may have changed. */
function sweepTask({ nodes, clock }: Core, cluster: Cluster, teller: ClusterTeller): () => void {
  let sweptAtMs = clock.nowMs();
  let told = "";
  return () => {
    const passedMs = clock.nowMs() - sweptAtMs;
    sweptAtMs += passedMs;
    nodes.sweep(passedMs > STALL_MS ? passedMs : 0);
    const version = cluster.documentVersion;
    if (version === told) return;
    told = version;
    teller.tell(JSON.stringify(cluster.document()));
  };
}

function nodeAddress(config: Core["config"]): ListenAddress {
  const hostSetting = config.nodeHost === "" ? "BERTH_HOST" : "BERTH_NODE_HOST";
  const host = nodeHost(config);
  return { host, port: config.nodePort, setting: "BERTH_NODE_PORT", hostSetting };
}

function nodeHost({ nodeHost: host, host: fallback }: Core["config"]): string {
  return host === "" ? fallback : host;
}

function openPort(address: AddressInfo | string | null): number | undefined {
  return typeof address === "object" && address !== null ? address.port : undefined;
}

function baseUrl(host: string, port: number): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
