import {
  type Clock,
  type Config,
  type DocumentStore,
  type Enrolment,
  type ListenAddress,
  type Logger,
  openEnrolment,
  openPortSecurity,
} from "@berth/service-kit";
import type { ConnectRouter } from "@connectrpc/connect";
import type { AdmitNode } from "../api/node-admission.ts";
import { enrolmentRoutes } from "../api/node-enrolment.ts";
import { createNodeServer } from "../api/node-server.ts";
import { nodeRoutes } from "../api/node-service.ts";
import type { NodeRegistry } from "../nodes/node-registry.ts";
import type { settings } from "../settings.ts";

type AgentConfig = Config<typeof settings>;

/** What the port of node-agents is made from. */
export interface NodePortOptions {
  readonly config: AgentConfig;
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly nodes: NodeRegistry;
  /** Decides whether a node may ask to join. */
  readonly admit: AdmitNode;
  readonly intervals: { readonly gpuMs: number; readonly hostMs: number; readonly ttlMs: number };
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The port of node-agents, closed yet. */
export interface NodePort {
  /** What it serves, for node-agents in the same process too. */
  readonly routes: (router: ConnectRouter) => void;
  readonly server: ReturnType<typeof createNodeServer>;
  /** Tokens and keys of node-agents. */
  readonly enrolment: Enrolment;
}

/** Puts the port of node-agents together, with their enrolment. */
export async function composeNodePort(options: NodePortOptions): Promise<NodePort> {
  const { config, store, orgId, nodes, intervals, admit, clock, logger } = options;
  const { dataDir: directory, nodeNames: names, localToken, clusterId } = config;
  const { tls, caPin } = await openPortSecurity({ host: nodeHost(config), directory, names });
  const enrolment = await openEnrolment({
    ...{ store, orgId, clock, logger },
    ...{ subject: "node", localToken, caPin },
    onKeyEnded: (nodeId) => nodes.keys.ended(nodeId),
    onSecondRefused: (nodeId, why) => nodes.keys.secondRefused(nodeId, why),
    refuseReplacement: (nodeId) => nodes.keys.refuseReplacement(nodeId),
    onKeyReplacing: (nodeId, replace) => nodes.keys.replacing(nodeId, replace),
    onKeyGiven: (nodeId) => nodes.keys.given(nodeId),
  });
  const stopping = new AbortController();
  const { authenticate } = enrolment;
  const about = { clusterId, nodes, authenticate, admit, logger, intervals };
  const addNodes = nodeRoutes({ ...about, stopping: stopping.signal });
  const addEnrolment = enrolmentRoutes(enrolment);
  const routes = (router: ConnectRouter) => {
    addNodes(router);
    addEnrolment(router);
  };
  const address = nodeAddress(config);
  const server = createNodeServer({ routes, guard: enrolment, tls, address, logger, stopping });
  return { routes, server, enrolment };
}

function nodeAddress(config: AgentConfig): ListenAddress {
  const hostSetting = config.nodeHost === "" ? "BERTH_HOST" : "BERTH_NODE_HOST";
  const host = nodeHost(config);
  return { host, port: config.nodePort, setting: "BERTH_NODE_PORT", hostSetting };
}

function nodeHost({ nodeHost: host, host: fallback }: AgentConfig): string {
  return host === "" ? fallback : host;
}
