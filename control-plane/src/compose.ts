import path from "node:path";
import { createSandbox } from "@berth/policy-sandbox";
import {
  type Config,
  HttpTraffic,
  type Logger,
  listening,
  loopbackAuthenticator,
  openSqliteDocumentStore,
  type Part,
  systemClock,
} from "@berth/service-kit";
import { Allocator } from "./allocation/allocator.ts";
import { Assumptions } from "./allocation/assumptions.ts";
import { DecisionLog } from "./allocation/decisions/decision-log.ts";
import { ResidentCatalog } from "./allocation/resident-catalog.ts";
import { createRestServer } from "./api/rest/rest-server.ts";
import { WsEndpoints } from "./api/ws/ws-server.ts";
import { agentPort, fleetParts, openFleet } from "./compose/compose-fleet.ts";
import { freeSpaceCheck } from "./compose/free-space.ts";
import { readiness } from "./compose/readiness.ts";
import { SandboxHealth } from "./compose/sandbox-health.ts";
import { ClusterRegistry } from "./fleet/cluster-registry.ts";
import { PolicyContexts } from "./policies/policy-contexts.ts";
import { PolicyRegistry } from "./policies/policy-registry.ts";
import type { settings } from "./settings.ts";

const VERSION = "0.1.0";

/** Puts a control-plane together. Opens its store; everything else starts with the parts, in order. */
export async function composeControlPlane(
  config: Config<typeof settings>,
  logger: Logger,
): Promise<readonly Part[]> {
  const store = openSqliteDocumentStore(path.join(config.dataDir, "control-plane.db"), systemClock);
  const health = new SandboxHealth(logger);
  const stateDir = path.join(config.dataDir, "sandbox");
  const sandbox = createSandbox({ stateDir, onEvent: (event) => health.onEvent(event) });
  const fleet = await openFleet(config, store, logger);
  const { agents, enrolment } = fleet;
  const clusters = new ClusterRegistry({
    ...{ store, agents: agents.sessions },
    forget: (orgId, id, options) => agents.forget(orgId, id, options),
  });
  const contexts = new PolicyContexts({ store, logger });
  const policies = new PolicyRegistry({ store, sandbox, contexts });
  const decisions = openDecisionLog(config, logger);
  const { assumeSeconds, policyWallMs: wallMs, policyCpuMs: cpuMs } = config;
  const caps = { wallMs, cpuMs, memoryMiB: config.policyMemoryMiB };
  const allocator = new Allocator({
    ...{ clusters, policies, contexts, sandbox, assumeSeconds, caps },
    residents: new ResidentCatalog(),
    assumptions: new Assumptions(systemClock),
    decisions: decisions.log,
  });
  const edge = {
    origins: { allowedHosts: config.allowedHosts, allowedOrigins: config.allowedOrigins },
    authenticate: loopbackAuthenticator(config.orgId),
    traffic: new HttpTraffic(),
  };
  const rest = createRestServer({
    allocator,
    decisions: decisions.log,
    clusters,
    agents,
    policies,
    tokens: { enrolment, agentPort: config.agentPort },
    commands: fleet.commands,
    events: fleet.events,
    adoption: fleet.adoption,
    ready: () =>
      readiness({
        ...{ store, decisions: decisions.log, version: VERSION },
        sandbox: health.readiness(sandbox.stats()),
      }),
    ...edge,
    logger: logger.child({ component: "rest" }),
    version: VERSION,
  });
  const sockets = new WsEndpoints({
    allocator,
    ...edge,
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
    freeSpaceCheck(stateDir),
    ...fleetParts(fleet, logger),
    agentPort(config, fleet, logger.child({ component: "agent link" })),
    listening(rest, { host, port: config.httpPort, setting: "BERTH_HTTP_PORT" }, "rest"),
    sockets.part({ host, port: config.wsPort, setting: "BERTH_WS_PORT" }),
    warmUp(sandbox, logger),
  ];
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
