import path from "node:path";
import { createSandbox, type SandboxEvent } from "@berth/policy-sandbox";
import {
  authenticationGate,
  type Config,
  createHttp2Server,
  errorMapping,
  type Logger,
  listening,
  loopbackAuthenticator,
  openSqliteDocumentStore,
  type Part,
  systemClock,
  tokenAuthenticator,
} from "@berth/service-kit";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Allocator } from "./allocation/allocator.ts";
import { agentRoutes, MAX_AGENT_MESSAGE_BYTES } from "./api/connect/agent-service.ts";
import { createRestServer } from "./api/rest/rest-server.ts";
import { WsEndpoints } from "./api/ws/ws-server.ts";
import { AgentSessions } from "./fleet/agent-sessions.ts";
import { ClusterRegistry } from "./fleet/cluster-registry.ts";
import { PolicyContexts } from "./policies/policy-contexts.ts";
import { PolicyRegistry } from "./policies/policy-registry.ts";
import type { settings } from "./settings.ts";

const VERSION = "0.1.0";
const EXPIRY_INTERVAL_MS = 1_000;

/** Puts a control-plane together. Opens its store; everything else starts with the parts, in order. */
export async function composeControlPlane(
  config: Config<typeof settings>,
  logger: Logger,
): Promise<readonly Part[]> {
  const store = openSqliteDocumentStore(path.join(config.dataDir, "control-plane.db"), systemClock);
  const fence = {
    storeId: await store.storeId(),
    controllerTerm: BigInt(await store.raise("controller_term")),
  };
  const sandbox = createSandbox({
    stateDir: path.join(config.dataDir, "sandbox"),
    onEvent: (event) => logSandboxEvent(logger, event),
  });
  const agents = new AgentSessions({ store, clock: systemClock, logger });
  const clusters = new ClusterRegistry({ store, agents });
  const policies = new PolicyRegistry({ store, sandbox });
  const contexts = new PolicyContexts({ store, logger });
  const allocator = new Allocator({ clusters, policies, contexts, sandbox, logger });
  const origins = { allowedHosts: config.allowedHosts, allowedOrigins: config.allowedOrigins };
  const authenticate = loopbackAuthenticator(config.orgId);
  const authenticateAgent = tokenAuthenticator(config.orgId, config.linkToken);
  const rest = createRestServer({
    allocator,
    clusters,
    policies,
    ready: () => readiness(sandbox.stats()),
    authenticate,
    origins,
    logger: logger.child({ component: "rest" }),
    version: VERSION,
  });
  const sockets = new WsEndpoints({
    allocator,
    authenticate,
    origins,
    logger: logger.child({ component: "websocket" }),
  });
  sockets.attach(rest.server, "/ws/allocate");
  const { host } = config;
  return [
    holding("store", () => store.close()),
    contexts,
    holding("policy sandbox", () => sandbox.close()),
    expiryPart(agents),
    createHttp2Server({
      name: "agent link",
      address: { host, port: config.agentPort, setting: "BERTH_AGENT_PORT" },
      logger: logger.child({ component: "agent link" }),
      handler: connectNodeAdapter({
        requestGate: authenticationGate(authenticateAgent),
        interceptors: [errorMapping(logger.child({ component: "agent link" }))],
        readMaxBytes: MAX_AGENT_MESSAGE_BYTES,
        routes: (router) =>
          agentRoutes(router, { agents, authenticate: authenticateAgent, store: fence }),
      }),
    }),
    listening(rest, { host, port: config.httpPort, setting: "BERTH_HTTP_PORT" }, "rest"),
    sockets.part({ host, port: config.wsPort, setting: "BERTH_WS_PORT" }),
    warmUp(sandbox, logger),
  ];
}

type Sandbox = ReturnType<typeof createSandbox>;

function readiness(stats: ReturnType<Sandbox["stats"]>) {
  const { snapshot, workers, running, queued } = stats;
  return {
    ready: snapshot === "ready",
    parts: { version: VERSION, sandbox: { snapshot, workers: workers.length, running, queued } },
  };
}

/** A part that is there when the program is composed and only needs to be closed. */
function holding(name: string, close: () => Promise<void>): Part {
  return { name, start: async () => {}, stop: close };
}

/**
 * Builds the sandbox's snapshot and warms a worker once everything listens, beside the start-up: the
 * first evaluation waits for them, a failed start does not.
 */
function warmUp(sandbox: Sandbox, logger: Logger): Part {
  return {
    name: "warm-up",
    async start() {
      sandbox.ready().then(
        () => logger.info("policy sandbox is ready"),
        (err: unknown) => logger.error("policy sandbox is not ready", { err }),
      );
    },
    stop: async () => {},
  };
}

function expiryPart(agents: AgentSessions): Part {
  let timer: NodeJS.Timeout | undefined;
  return {
    name: "agent sessions",
    async start() {
      timer = setInterval(() => agents.expire(), EXPIRY_INTERVAL_MS);
    },
    async stop() {
      clearInterval(timer);
      agents.close();
    },
  };
}

function logSandboxEvent(logger: Logger, { kind, ...fields }: SandboxEvent): void {
  const bad = kind === "snapshot_failed" || kind === "worker_failed_to_start";
  logger[bad ? "error" : "info"](`sandbox: ${kind}`, fields);
}
