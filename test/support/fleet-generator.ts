import { createHash, randomUUID } from "node:crypto";
import {
  aggregateMetrics,
  ControlPlaneLink,
  openLinkMemory,
  revisionBase,
  StateBoard,
  type TelemetryEntry,
} from "@berth/cluster-agent";
import {
  type AgentIdentity,
  type DocumentStore,
  openSqliteDocumentStore,
  parseToken,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { type ClusterShape, pick, SyntheticCluster, seededRandom } from "./synthetic-cluster.ts";

/** What a fleet of synthetic clusters is made from. Crosses a process boundary as JSON. */
export interface GeneratorOptions {
  /** Agent port of the control-plane: "http://127.0.0.1:7443". */
  readonly url: string;
  /** Enrolment token that any number of clusters may use. */
  readonly token: string;
  readonly clusters: number;
  readonly shape: ClusterShape;
  /** Everything synthetic comes from it. */
  readonly seed: number;
  /** Raised by who starts a second generator with the same clusters. */
  readonly incarnation: number;
  /** Mean time after which the document of one cluster changes, ms; 0 for never. */
  readonly documentChangeMs: number;
}

/** The links of a fleet at one moment. */
export interface GeneratorStatus {
  readonly links: number;
  /** Links that are registered and whose streams run. */
  readonly up: number;
  /** Telemetry reports that were made since the start. */
  readonly reports: number;
  /** Why links that are down are down, and how many each. */
  readonly down: Readonly<Record<string, number>>;
}

/** A running fleet of synthetic clusters, each with a real agent link. */
export interface FleetGenerator {
  status(): GeneratorStatus;
  /** Ends all links. */
  stop(): Promise<void>;
}

/** 8 nodes of 8 GPUs, as the figures have them. */
export const DEFAULT_SHAPE: ClusterShape = { nodes: 8, gpusPerNode: 8 };

const ambient = { clock: systemClock, logger: silentLogger } as const;
const CHURN_INTERVAL_MS = 1_000;
/** Age of the newest sample in a report: half of the interval in which GPUs are sampled. */
const SAMPLE_AGE_MS = 500;

/** Id of a generator's cluster by its number. */
export function syntheticClusterId(index: number): string {
  return `synthetic-${String(index).padStart(5, "0")}`;
}

/**
 * Opens one real agent link per cluster from this process: the cluster-agent's own link code over
 * synthetic facts. All links dial at once; one that is refused or cut tries again as an agent does.
 */
export async function startFleetGenerator(options: GeneratorOptions): Promise<FleetGenerator> {
  const store = openSqliteDocumentStore(":memory:", systemClock);
  const agents = await Promise.all(
    Array.from({ length: options.clusters }, (_, index) => openAgent(options, { store, index })),
  );
  await Promise.all(agents.map((agent) => agent.link.start()));
  const stopChurn = startChurn(agents, options);
  return {
    status: () => statusOf(agents),
    async stop() {
      stopChurn();
      await Promise.all(agents.map((agent) => agent.link.stop()));
      await store.close();
    },
  };
}

interface Agent {
  readonly link: ControlPlaneLink;
  readonly reports: () => number;
  /** Changes the cluster document and tells the link. */
  readonly change: () => void;
}

async function openAgent(
  options: GeneratorOptions,
  { store, index }: { readonly store: DocumentStore; readonly index: number },
): Promise<Agent> {
  const clusterId = syntheticClusterId(index);
  const cluster = new SyntheticCluster({
    id: clusterId,
    shape: options.shape,
    seed: options.seed + index,
  });
  const agentIncarnation = BigInt(options.incarnation);
  const board = new StateBoard(agentIncarnation, systemClock);
  const tell = () => board.set("cluster", JSON.stringify(cluster.document()));
  tell();
  let reports = 0;
  const telemetry = () => {
    cluster.drift();
    reports += 1;
    return entriesOf(cluster, revisionBase(agentIncarnation) + BigInt(reports));
  };
  const link = new ControlPlaneLink({
    facts: {
      clusterId,
      identity: `synthetic:${clusterId}`,
      agentIncarnation,
      agentVersion: "0.1.0",
      agentInstanceId: randomUUID(),
      board,
      telemetry,
    },
    // One database for all of them: each agent's records are those of an org of its own.
    ...(await openLinkMemory({
      ...{ store, orgId: clusterId, ...ambient },
      api: async () => ({ status: 501, bodyJson: "" }),
      ledgerRevision: () => 0n,
    })),
    url: options.url,
    identity: identityOf(clusterId, options),
    ...ambient,
  });
  const change = () => {
    cluster.churn();
    tell();
  };
  return { link, reports: () => reports, change };
}

/** An identity without files: the key comes from the seed, so a later generator is the same agents. */
function identityOf(clusterId: string, { token, seed }: GeneratorOptions): AgentIdentity {
  const key = createHash("sha256").update(`${seed}/${clusterId}`).digest("base64url");
  return {
    authorization: `Bearer ${key}`,
    keySha256: createHash("sha256").update(key).digest(),
    enrolmentAuthorization: `Bearer ${parseToken(token)?.secret}`,
    serverCa: async () => undefined,
  };
}

function entriesOf(cluster: SyntheticCluster, revision: bigint): TelemetryEntry[] {
  const nodes = cluster.nodes();
  const entry = (key: string, json: () => string) => ({
    key,
    revision,
    ageMs: SAMPLE_AGE_MS,
    json,
  });
  return [
    entry("metrics", () => JSON.stringify(aggregateMetrics(nodes))),
    ...nodes.map((node) => entry(`node/${node.id}`, () => JSON.stringify(node))),
  ];
}

function startChurn(agents: readonly Agent[], options: GeneratorOptions): () => void {
  if (options.documentChangeMs === 0) return () => undefined;
  const random = seededRandom(options.seed);
  const changesPerTick = (agents.length * CHURN_INTERVAL_MS) / options.documentChangeMs;
  let due = 0;
  const timer = setInterval(() => {
    for (due += changesPerTick; due >= 1; due -= 1) pick(agents, random)?.change();
  }, CHURN_INTERVAL_MS);
  return () => clearInterval(timer);
}

function statusOf(agents: readonly Agent[]): GeneratorStatus {
  const down: Record<string, number> = {};
  let [up, reports] = [0, 0];
  for (const agent of agents) {
    const { state, lastError } = agent.link.status();
    reports += agent.reports();
    if (state === "up") up += 1;
    else down[lastError ?? "not tried yet"] = (down[lastError ?? "not tried yet"] ?? 0) + 1;
  }
  return { links: agents.length, up, reports, down };
}
