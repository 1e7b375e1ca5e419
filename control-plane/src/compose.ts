import path from "node:path";
import { createSandbox, type SandboxEvent } from "@berth/policy-sandbox";
import { EnrolmentService } from "@berth/proto";
import {
  type Config,
  createHttp2Server,
  type DocumentStore,
  type Enrolment,
  enrolmentGate,
  errorMapping,
  type Logger,
  listening,
  loopbackAuthenticator,
  openEnrolment,
  openPortSecurity,
  openSqliteDocumentStore,
  type Part,
  type PortSecurity,
  systemClock,
} from "@berth/service-kit";
import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Allocator } from "./allocation/allocator.ts";
import { Assumptions } from "./allocation/assumptions.ts";
import { DecisionLog } from "./allocation/decisions/decision-log.ts";
import { ResidentCatalog } from "./allocation/resident-catalog.ts";
import { agentRoutes, MAX_AGENT_MESSAGE_BYTES } from "./api/connect/agent-service.ts";
import { enrolmentRoutes } from "./api/connect/enrolment-service.ts";
import { createRestServer } from "./api/rest/rest-server.ts";
import { WsEndpoints } from "./api/ws/ws-server.ts";
import { AgentSessions } from "./fleet/agent-sessions.ts";
import { ClusterRegistry } from "./fleet/cluster-registry.ts";
import { openCommands } from "./fleet/commands.ts";
import { FleetAdoption } from "./fleet/fleet-adoption.ts";
import { openFleetEvents } from "./fleet/fleet-events.ts";
import { openFleetStores } from "./fleet/fleet-stores.ts";
import { PolicyContexts } from "./policies/policy-contexts.ts";
import { PolicyRegistry } from "./policies/policy-registry.ts";
import type { settings } from "./settings.ts";

type ControlPlaneConfig = Config<typeof settings>;

const VERSION = "0.1.0";
const EXPIRY_INTERVAL_MS = 1_000;
const PRUNE_INTERVAL_MS = 60_000;
/** Shortest silence after which a cluster is unreachable; three reports when those are rarer. */
const LEAST_TTL_MS = 10_000;
const STORE_RESTORED =
  "this control-plane's store was restored from an older copy, so no orders are given; look at `berth fleet status`, then `berth fleet adopt`";

/** Puts a control-plane together. Opens its store; everything else starts with the parts, in order. */
export async function composeControlPlane(
  config: Config<typeof settings>,
  logger: Logger,
): Promise<readonly Part[]> {
  const store = openSqliteDocumentStore(path.join(config.dataDir, "control-plane.db"), systemClock);
  const sandbox = createSandbox({
    stateDir: path.join(config.dataDir, "sandbox"),
    onEvent: (event) => logSandboxEvent(logger, event),
  });
  const { enrolment, security } = await openIdentities(config, store, logger);
  const fleet = await openFleet(config, { store, enrolment, logger });
  const { agents } = fleet;
  const clusters = new ClusterRegistry({ store, agents });
  const policies = new PolicyRegistry({ store, sandbox });
  const contexts = new PolicyContexts({ store, logger });
  const decisions = openDecisionLog(config, logger);
  const { assumeSeconds, policyWallMs: wallMs, policyCpuMs: cpuMs } = config;
  const caps = { wallMs, cpuMs, memoryMiB: config.policyMemoryMiB };
  const allocator = new Allocator({
    ...{ clusters, policies, contexts, sandbox, assumeSeconds, caps },
    residents: new ResidentCatalog(),
    assumptions: new Assumptions(systemClock),
    decisions: decisions.log,
  });
  const origins = { allowedHosts: config.allowedHosts, allowedOrigins: config.allowedOrigins };
  const authenticate = loopbackAuthenticator(config.orgId);
  const rest = createRestServer({
    allocator,
    decisions: decisions.log,
    clusters,
    policies,
    tokens: { enrolment, agentPort: config.agentPort },
    commands: fleet.commands,
    events: fleet.events,
    adoption: fleet.adoption,
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
    holding("decision store", decisions.close),
    decisions.log,
    holding("policy sandbox", () => sandbox.close()),
    ...fleetParts(fleet, logger),
    agentPort(
      { config, logger: logger.child({ component: "agent link" }), enrolment, security },
      (router) => agentRoutes(router, { ...fleet, authenticate: enrolment.authenticate }),
    ),
    listening(rest, { host, port: config.httpPort, setting: "BERTH_HTTP_PORT" }, "rest"),
    sockets.part({ host, port: config.wsPort, setting: "BERTH_WS_PORT" }),
    warmUp(sandbox, logger),
  ];
}

/** Who cluster-agents are, and how the port that they dial is protected. */
async function openIdentities(config: ControlPlaneConfig, store: DocumentStore, logger: Logger) {
  const { agentNames: names, dataDir: directory, localToken, orgId } = config;
  const security = await openPortSecurity({ host: agentHost(config), directory, names });
  const enrolment = await openEnrolment({
    ...{ store, orgId, clock: systemClock, logger, subject: "cluster", localToken },
    caPin: security.caPin,
  });
  return { enrolment, security };
}

function agentHost({ agentHost, host }: ControlPlaneConfig): string {
  return agentHost === "" ? host : agentHost;
}

interface AgentPortParts {
  readonly config: ControlPlaneConfig;
  readonly logger: Logger;
  readonly enrolment: Enrolment;
  readonly security: PortSecurity;
}

/** The port that cluster-agents dial: enrolment with a token, everything else with an own key. */
function agentPort(parts: AgentPortParts, routes: (router: ConnectRouter) => void): Part {
  const { config, enrolment, logger, security } = parts;
  const gate = enrolmentGate(enrolment, EnrolmentService.typeName);
  return createHttp2Server({
    name: "agent link",
    address: { host: agentHost(config), port: config.agentPort, setting: "BERTH_AGENT_PORT" },
    logger,
    tls: security.tls,
    handler: connectNodeAdapter({
      requestGate: gate,
      interceptors: [errorMapping(logger)],
      readMaxBytes: MAX_AGENT_MESSAGE_BYTES,
      routes(router) {
        routes(router);
        enrolmentRoutes(router, enrolment);
      },
    }),
  });
}

/** Decisions live in a file of their own: they are many, and may lose their newest in a power cut. */
function openDecisionLog(config: Config<typeof settings>, logger: Logger) {
  const file = path.join(config.dataDir, "decisions.db");
  const store = openSqliteDocumentStore(file, systemClock, { durability: "process" });
  const limits = {
    maxAgeMs: config.decisionDays * 24 * 60 * 60 * 1_000,
    maxBytes: config.decisionMaxMiB * 1024 * 1024,
  };
  const log = new DecisionLog({ store, orgId: config.orgId, limits, logger });
  return { log, close: () => store.close() };
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

/** What the control-plane knows of its agents and tells them. */
async function openFleet(
  config: ControlPlaneConfig,
  deps: {
    readonly store: DocumentStore;
    readonly enrolment: Enrolment;
    readonly logger: Logger;
  },
) {
  const { store, enrolment, logger } = deps;
  const shared = { store, orgId: config.orgId, clock: systemClock, logger };
  const controllerTerm = BigInt(await store.raise("controller_term"));
  const stores = await openFleetStores({ ...shared, controllerTerm });
  const events = await openFleetEvents(shared);
  const { reportIntervalMs } = config;
  const agents = new AgentSessions({
    ...{ store, stores, clock: systemClock, logger, reportIntervalMs },
    ttlMs: Math.max(LEAST_TTL_MS, 3 * reportIntervalMs),
    forgetKey: (clusterId) => enrolment.forget(clusterId),
    onEvent: (event) => {
      events.record(event);
      if (event.kind !== "agent_restored") return;
      commands.agentRestored(event.clusterId).catch((err: unknown) => {
        logger.error("commands of a restored agent were not refused", { err });
      });
    },
  });
  const commands = await openCommands({
    ...shared,
    fence: () => stores.fence,
    refusal: () => stores.restored && STORE_RESTORED,
    knows: (clusterId) => agents.knows(config.orgId, clusterId),
  });
  const adoption = new FleetAdoption({ stores, agents, logger });
  return { stores, events, agents, commands, adoption };
}

/** Looks for silent agents, and forgets what is old. */
function fleetParts(
  { agents, commands, events }: Awaited<ReturnType<typeof openFleet>>,
  logger: Logger,
): Part[] {
  let expiry: NodeJS.Timeout | undefined;
  let pruning: NodeJS.Timeout | undefined;
  const prune = () => {
    Promise.all([commands.prune(), events.prune()]).catch((err: unknown) => {
      logger.error("old commands and events were not removed", { err });
    });
  };
  return [
    { name: "fleet events", start: async () => {}, stop: () => events.close() },
    {
      name: "agent sessions",
      async start() {
        expiry = setInterval(() => agents.expire(), EXPIRY_INTERVAL_MS);
        pruning = setInterval(prune, PRUNE_INTERVAL_MS);
      },
      async stop() {
        clearInterval(expiry);
        clearInterval(pruning);
        commands.close();
        agents.close();
      },
    },
  ];
}

function logSandboxEvent(logger: Logger, { kind, ...fields }: SandboxEvent): void {
  const bad = kind === "snapshot_failed" || kind === "worker_failed_to_start";
  logger[bad ? "error" : "info"](`sandbox: ${kind}`, fields);
}
