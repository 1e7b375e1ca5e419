import { AgentService, EnrolmentService } from "@berth/proto";
import {
  type Config,
  createHttp2Server,
  type DocumentStore,
  type Enrolment,
  enrolmentGate,
  errorMapping,
  knownCaller,
  type Logger,
  openEnrolment,
  openPortSecurity,
  type Part,
  type PortSecurity,
  StallGuard,
  systemClock,
  unaryPathsOf,
} from "@berth/service-kit";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { agentCaller } from "../api/connect/agent-caller.ts";
import { agentRoutes } from "../api/connect/agent-service.ts";
import { enrolmentRoutes } from "../api/connect/enrolment-service.ts";
import { openRegister } from "../api/connect/open-register.ts";
import type { AgentApi, FleetBlocks } from "../fleet/agent-api.ts";
import { AgentCalls } from "../fleet/agent-calls.ts";
import { type ClusterAgents, openClusterAgents } from "../fleet/cluster-agents.ts";
import { type Commands, openCommands } from "../fleet/commands.ts";
import { FleetAdoption } from "../fleet/fleet-adoption.ts";
import { AgentBlocks } from "../fleet/fleet-blocks.ts";
import { type FleetEvents, openFleetEvents } from "../fleet/fleet-events.ts";
import { type FleetStores, openFleetStores } from "../fleet/fleet-stores.ts";
import { TermStretches } from "../fleet/term-stretches.ts";
import type { PolicyRegistry } from "../policies/policy-registry.ts";
import type { settings } from "../settings.ts";

type ControlPlaneConfig = Config<typeof settings>;

/** An agent has a State, a Report and a Commands stream, and one or two single calls beside them. */
const MAX_STREAMS = 8;
/**
 * What a stream takes ahead of what is read: 1.25 MB a second at a round trip of 200 ms. No more, as an agent's ping
 * waits behind what it has sent and must be answered within 4 s: at 64 KiB a second, which deadlines count
 * with, that is 256 KiB. A connection, also one that has not registered, makes this port hold 8 x 256 KiB =
 * 2 MiB at most, which is what 32 streams of 64 KiB held.
 */
const WINDOW_BYTES = 256 * 1024;
const EXPIRY_INTERVAL_MS = 1_000;
/** Time between two looks for silence that says that this process was too busy to hear anybody. */
const STALL_MS = 3 * EXPIRY_INTERVAL_MS;
const PRUNE_INTERVAL_MS = 60_000;
/** Shortest silence after which a cluster is unreachable; three reports when those are rarer. */
const LEAST_TTL_MS = 10_000;
const STORE_RESTORED =
  "this control-plane's store was restored from an older copy, so no orders are given; look at `berth fleet status`, then `berth fleet adopt`";

/** What the control-plane knows of its agents and tells them. */
export interface Fleet {
  readonly stores: FleetStores;
  /** When the term's stretches begin. */
  readonly stretches: TermStretches;
  readonly events: FleetEvents;
  readonly agents: ClusterAgents;
  readonly commands: Commands;
  /** Asks agents. */
  readonly agentApi: AgentApi;
  /** The blocks of the agents' clusters. */
  readonly blocks: FleetBlocks;
  readonly adoption: FleetAdoption;
  /** Who cluster-agents are. */
  readonly enrolment: Enrolment;
  /** How the port that they dial is protected. */
  readonly security: PortSecurity;
}

/** Opens what the store knows of the fleet, and takes a new term. */
export async function openFleet(
  config: ControlPlaneConfig,
  store: DocumentStore,
  logger: Logger,
): Promise<Fleet> {
  const { orgId, reportIntervalMs } = config;
  const shared = { store, orgId, clock: systemClock, logger };
  const { agentNames: names, dataDir: directory, localToken } = config;
  const security = await openPortSecurity({ host: agentHost(config), directory, names });
  const enrolment = await openEnrolment({
    ...{ ...shared, subject: "cluster", localToken, caPin: security.caPin },
    onKeyEnded: (clusterId) => agents.keyEnded(clusterId),
    onSecondRefused: (clusterId, why) => agents.enrolmentRefused(clusterId, why),
    refuseReplacement: (clusterId) => agents.refuseReplacement(clusterId),
    onKeyReplacing: (clusterId, replace) => agents.keyReplacing(clusterId, replace),
    onKeyGiven: (clusterId) => agents.keyGiven(clusterId),
  });
  const controllerTerm = BigInt(await store.raise("controller_term"));
  const stores = await openFleetStores({ ...shared, controllerTerm });
  const stretches = new TermStretches({
    begin: () => stores.beginStretch(),
    tell: () => commands.tellTerm(),
    isWorthwhile: () => agents.sessions.isAnyThere,
    logger,
  });
  const advance = () => stretches.advance();
  const events = await openFleetEvents(shared);
  const agents = await openClusterAgents({
    ...{ ...shared, stores, advance, reportIntervalMs },
    ttlMs: Math.max(LEAST_TTL_MS, 3 * reportIntervalMs),
    forgetKey: (clusterId) => enrolment.forget(clusterId),
    withdrawOrders: (clusterId, isReached) => commands.agentRestored(clusterId, isReached),
    onEvent: (event) => events.record(event),
  });
  const commands = await openCommands({
    ...{ ...shared, advance },
    beginStretches: (count, beside) => stores.beginStretches(count, beside),
    fence: () => stores.fence,
    refusal: (clusterId) => (stores.restored ? STORE_RESTORED : agents.refusal(clusterId)),
    knows: (clusterId) => agents.knows(orgId, clusterId),
  });
  const adoption = new FleetAdoption({
    ...{ stores, agents: agents.sessions, unknown: agents.unknown },
    logger,
  });
  const { clusters } = agents.sessions;
  const blocks = new AgentBlocks({ clusters, orgId, clock: systemClock, logger });
  const agentApi = new AgentCalls(commands);
  const linked = { agents, commands, agentApi, blocks };
  return { ...linked, stores, stretches, events, adoption, enrolment, security };
}

/** Looks for silent agents, and forgets what is old. */
export function fleetParts({ agents, commands, events, stretches }: Fleet, logger: Logger): Part[] {
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
        const stall = new StallGuard(systemClock, STALL_MS);
        // Messages that came while this process could not read them must not count as silence.
        expiry = setInterval(() => {
          if (!stall.hasStalled()) agents.sessions.expire();
        }, EXPIRY_INTERVAL_MS);
        pruning = setInterval(prune, PRUNE_INTERVAL_MS);
        stretches.start();
      },
      async stop() {
        clearInterval(expiry);
        clearInterval(pruning);
        commands.close();
        agents.sessions.close();
        await stretches.stop();
      },
    },
  ];
}

/** The port that cluster-agents dial: enrolment with a token, everything else with an own key. */
export function agentPort(
  config: ControlPlaneConfig,
  {
    fleet,
    policies,
    logger,
  }: {
    readonly fleet: Fleet;
    readonly policies: Pick<PolicyRegistry, "runnable">;
    readonly logger: Logger;
  },
): Part {
  const { enrolment, security } = fleet;
  const { authenticate } = enrolment;
  return createHttp2Server({
    name: "agent link",
    address: {
      ...{ host: agentHost(config), hostSetting: "BERTH_AGENT_HOST" },
      ...{ port: config.agentPort, setting: "BERTH_AGENT_PORT" },
    },
    logger,
    tls: security.tls,
    maxStreams: MAX_STREAMS,
    windowBytes: WINDOW_BYTES,
    isKnown: knownCaller(enrolment),
    unaryPaths: unaryPathsOf(AgentService, EnrolmentService),
    handler: connectNodeAdapter({
      requestGate: openRegister(enrolmentGate(enrolment, EnrolmentService.typeName)),
      contextValues: agentCaller,
      interceptors: [errorMapping(logger)],
      routes(router) {
        agentRoutes(router, { ...fleet, policies, authenticate });
        enrolmentRoutes(router, enrolment);
      },
    }),
  });
}

function agentHost({ agentHost, host }: ControlPlaneConfig): string {
  return agentHost === "" ? host : agentHost;
}
