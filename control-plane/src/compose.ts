import path from "node:path";
import { createSandbox, PolicyContexts } from "@berth/policy-sandbox";
import {
  type Config,
  type DocumentStore,
  HttpTraffic,
  type Logger,
  listening,
  loopbackAuthenticator,
  openSqliteDocumentStore,
  type Part,
  type ScrapedProgram,
  systemClock,
} from "@berth/service-kit";
import { Assumptions } from "./allocation/assumptions.ts";
import { DecisionLog } from "./allocation/decisions/decision-log.ts";
import { createRestServer } from "./api/rest/rest-server.ts";
import { WsEndpoints } from "./api/ws/ws-server.ts";
import { agentPort, fleetParts, openFleet } from "./compose/compose-fleet.ts";
import { type Metrics, openAliasPorts, openMetrics } from "./compose/compose-metrics.ts";
import { composeWorkings } from "./compose/compose-workings.ts";
import { freeSpaceCheck } from "./compose/free-space.ts";
import { type ReadinessParts, readiness } from "./compose/readiness.ts";
import { SandboxHealth } from "./compose/sandbox-health.ts";
import { ClusterRegistry } from "./fleet/cluster-registry.ts";
import { PolicyRegistry } from "./policies/policy-registry.ts";
import type { settings } from "./settings.ts";

const VERSION = "0.1.0";
/** WebSockets of the REST port. */
const WS_PATHS = new Map([
  ["/ws/allocate", "allocator"],
  ["/ws/metrics", "feed"],
  ["/ws/autoscale", "adhoc"],
] as const);

/**
 * Puts a control-plane together. Opens its store; everything else starts with the parts, in order. `usage` is
 * what the process uses; `process` fits.
 */
export async function composeControlPlane(
  config: Config<typeof settings>,
  logger: Logger,
  usage: ScrapedProgram["usage"],
): Promise<readonly Part[]> {
  const store = openSqliteDocumentStore(path.join(config.dataDir, "control-plane.db"), systemClock);
  const { sandbox, health, stateDir } = openSandbox(config, logger);
  const fleet = await openFleet(config, store, logger);
  const { agents, enrolment } = fleet;
  const assumptions = new Assumptions(systemClock);
  const clusters = new ClusterRegistry({
    ...{ store, agents: agents.sessions },
    forget: (orgId, id, options) => agents.forget(orgId, id, options),
    onRemoved: (orgId, id) => {
      assumptions.remove(orgId, id);
      void deciding.homes.forget(id);
    },
  });
  const contexts = new PolicyContexts({ store, logger });
  const policies = new PolicyRegistry({ store, sandbox, contexts });
  const decisions = openDecisionLog(config, logger);
  const metrics = openMetrics({
    ...{ config, clusters, fleet, sandbox, logger },
    program: { program: "control-plane", version: VERSION, usage },
    webSockets: () => sockets.connections,
  });
  const { org, deciding, autoscaler, status, parts } = await composeWorkings({
    ...{ config, store, clusters, fleet, metrics, assumptions, logger },
    ...{ decisionStore: decisions.store, decisions: decisions.log },
    ...{ running: { policies, contexts, sandbox }, allocations: counted(metrics, decisions.log) },
  });
  const edge = openEdge(config);
  const ready = readyCheck({ store, decisions: decisions.log, health, sandbox, status });
  const rest = createRestServer({
    ...{ ...deciding, decisions: decisions.log, clusters, agents, policies, org, autoscaler },
    webhookSecrets: config.webhookSecrets,
    tokens: { enrolment, agentPort: config.agentPort },
    ...{ commands: fleet.commands, events: fleet.events, adoption: fleet.adoption },
    ...{ metrics: metrics.routes, fleetView: metrics.fleetView, scrape: metrics.scrape },
    ...{ ...edge, ready },
    logger: logger.child({ component: "rest" }),
    version: VERSION,
  });
  const sockets = new WsEndpoints({
    ...{ ...deciding, ...edge, feed: org.feed, autoscaler },
    logger: logger.child({ component: "websocket" }),
  });
  sockets.attach(rest.server, WS_PATHS);
  const { host } = config;
  return [
    holding("store", () => store.close()),
    contexts,
    holding("decision store", decisions.close),
    decisions.log,
    holding("policy sandbox", () => sandbox.close()),
    freeSpaceCheck(stateDir),
    ...fleetParts(fleet, logger),
    agentPort(config, { fleet, policies, logger: logger.child({ component: "agent link" }) }),
    metrics.history,
    deciding.homes,
    deciding.placements,
    deciding.charges,
    ...parts,
    listening(rest, { host, port: config.httpPort, setting: "BERTH_HTTP_PORT" }, "rest"),
    sockets.part({ host, port: config.wsPort, setting: "BERTH_WS_PORT" }),
    ...openAliasPorts(config, { rest, sockets }, logger.child({ component: "rest" })),
    warmUp(sandbox, logger),
  ];
}

function openSandbox({ dataDir, sandboxDir }: Config<typeof settings>, logger: Logger) {
  const health = new SandboxHealth(logger);
  const stateDir = sandboxDir === "" ? path.join(dataDir, "sandbox") : sandboxDir;
  const sandbox = createSandbox({ stateDir, onEvent: (event) => health.onEvent(event) });
  return { sandbox, health, stateDir };
}

/** Tells whether the program can decide. */
function readyCheck({
  store,
  decisions,
  health,
  sandbox,
  status,
}: {
  readonly store: DocumentStore;
  readonly decisions: DecisionLog;
  readonly health: SandboxHealth;
  readonly sandbox: Sandbox;
  readonly status: () => Pick<ReadinessParts, "org" | "bus" | "mirror">;
}) {
  return () =>
    readiness({
      ...{ store, decisions, version: VERSION },
      ...{ sandbox: health.readiness(sandbox.stats()), ...status() },
    });
}

/** What REST and WebSocket have in common towards their clients. */
function openEdge({ allowedHosts, allowedOrigins, orgId }: Config<typeof settings>) {
  return {
    origins: { allowedHosts, allowedOrigins },
    authenticate: loopbackAuthenticator(orgId),
    traffic: new HttpTraffic(),
  };
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
  return { log, store, close: () => store.close() };
}

/** Records decisions of the allocator, and counts them. */
function counted({ allocations }: Metrics, log: DecisionLog): Pick<DecisionLog, "record"> {
  return {
    record: (orgId, decision) => {
      allocations.add(decision);
      log.record(orgId, decision);
    },
  };
}

type Sandbox = ReturnType<typeof createSandbox>;

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
