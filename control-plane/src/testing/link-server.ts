import path from "node:path";
import {
  type Authenticate,
  authenticationGate,
  BerthError,
  type Clock,
  createHttp2Server,
  type DocumentStore,
  errorMapping,
  type Http2Server,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { agentCaller } from "../api/connect/agent-caller.ts";
import { agentRoutes } from "../api/connect/agent-service.ts";
import type { AgentSessions } from "../fleet/agent-sessions.ts";
import { type ClusterAgents, openClusterAgents } from "../fleet/cluster-agents.ts";
import { ClusterRegistry } from "../fleet/cluster-registry.ts";
import { type Commands, openCommands } from "../fleet/commands.ts";
import { FleetAdoption } from "../fleet/fleet-adoption.ts";
import { type FleetEvents, openFleetEvents } from "../fleet/fleet-events.ts";
import { type FleetStores, openFleetStores } from "../fleet/fleet-stores.ts";
import { ADMISSION_LIMITS, type AdmissionLimits } from "../fleet/snapshot-admission.ts";
import { STRETCH_TIMES, type StretchTimes, TermStretches } from "../fleet/term-stretches.ts";
import { identityOf } from "./agents.ts";
import { NO_POLICIES } from "./no-policies.ts";

/** Org of the tests. */
export const ORG = "default_org";
const KEY = /^Bearer key-([a-z0-9-]+)$/;

/** Lets in the holder of `key-<cluster id>` as the agent of that cluster. */
const ofKey: Authenticate = ({ authorization }) => {
  const id = KEY.exec(authorization ?? "")?.[1];
  if (id === undefined) throw new BerthError("UNAUTHENTICATED", "authorization: expected a key");
  return { orgId: ORG, role: "agent", agent: { id, identity: identityOf(id) } };
};

/** The agent port over a real socket and a real store, with a clock that the test moves. */
export class LinkServer {
  readonly file: string;
  /** Monotonic time, moved by hand. */
  nowMs = 0;
  /** Ids whose keys were forgotten. */
  readonly forgotten: string[] = [];
  /** Clusters whose keys have ended. */
  readonly endedKeys = new Set<string>();
  /** When the term's stretches begin, at the next start. */
  stretchTimes: StretchTimes = STRETCH_TIMES;
  /** Why the disk takes no writes now; undefined when it does. */
  diskFailure: string | undefined;
  readonly #admission: AdmissionLimits;
  #parts: Parts | undefined;

  constructor(directory: string, admission: Partial<AdmissionLimits> = {}) {
    this.file = path.join(directory, "control-plane.db");
    this.#admission = { ...ADMISSION_LIMITS, ...admission };
  }

  get url(): string {
    return `http://127.0.0.1:${this.#started.server.port}`;
  }
  get agents(): ClusterAgents {
    return this.#started.agents;
  }
  get sessions(): AgentSessions {
    return this.agents.sessions;
  }
  get commands(): Commands {
    return this.#started.commands;
  }
  get events(): FleetEvents {
    return this.#started.events;
  }
  get stores(): FleetStores {
    return this.#started.stores;
  }
  get adoption(): FleetAdoption {
    return this.#started.adoption;
  }
  /** A registry of the agents' clusters and of those in the store. */
  registry(): ClusterRegistry {
    const { agents, store } = this.#started;
    return new ClusterRegistry({
      ...{ store, agents: agents.sessions },
      forget: (orgId, id, options) => agents.forget(orgId, id, options),
    });
  }
  get store(): Parts["store"] {
    return this.#started.store;
  }

  /** Starts on the store's file with a new term, on `port` or a free one. */
  async start(port = 0): Promise<void> {
    const clock: Clock = { ...systemClock, nowMs: () => this.nowMs };
    const opened = await openParts(this.file, {
      clock,
      admission: this.#admission,
      times: this.stretchTimes,
      diskFailure: () => this.diskFailure,
      forgetKey: async (clusterId) => {
        this.forgotten.push(clusterId);
        return clusterId !== "by-hand";
      },
    });
    const authenticate: Authenticate = (credentials) => {
      const principal = ofKey(credentials);
      if (!this.endedKeys.has(principal.agent?.id ?? "")) return principal;
      throw new BerthError("UNAUTHENTICATED", "authorization: the key has ended");
    };
    const parts = { ...opened, authenticate, policies: NO_POLICIES };
    const server = createHttp2Server({
      name: "agent link",
      address: { host: "127.0.0.1", port, setting: "BERTH_AGENT_PORT" },
      logger: silentLogger,
      handler: connectNodeAdapter({
        requestGate: authenticationGate(authenticate),
        contextValues: agentCaller,
        interceptors: [errorMapping(silentLogger)],
        routes: (router) => agentRoutes(router, parts),
      }),
    });
    await server.start();
    this.#parts = { ...opened, server };
  }

  /** Stops; nothing happens when it is stopped already. */
  async stop(): Promise<void> {
    const parts = this.#parts;
    this.#parts = undefined;
    if (parts === undefined) return;
    await parts.server.stop();
    parts.commands.close();
    parts.agents.sessions.close();
    await parts.stretches.stop();
    await parts.events.close();
    await parts.store.close();
  }

  get #started(): Parts {
    if (this.#parts === undefined) throw new Error("the server is not started");
    return this.#parts;
  }
}

type Parts = Awaited<ReturnType<typeof openParts>> & { readonly server: Http2Server };

async function openParts(
  file: string,
  given: {
    readonly clock: Clock;
    readonly admission: AdmissionLimits;
    readonly times: StretchTimes;
    readonly diskFailure: () => string | undefined;
    readonly forgetKey: (clusterId: string) => Promise<boolean>;
  },
) {
  const { clock, admission, times, forgetKey } = given;
  const store = onFullDisk(openSqliteDocumentStore(file, clock), given.diskFailure);
  const controllerTerm = BigInt(await store.raise("controller_term"));
  const shared = { store, orgId: ORG, clock, logger: silentLogger };
  const stores = await openFleetStores({ ...shared, controllerTerm });
  const stretches = new TermStretches({
    begin: () => stores.beginStretch(),
    tell: () => commands.tellTerm(),
    isWorthwhile: () => agents.sessions.isAnyThere,
    ...{ logger: silentLogger, times },
  });
  const advance = () => stretches.advance();
  const events = await openFleetEvents(shared);
  const agents = await openClusterAgents({
    ...{ ...shared, stores, advance, admission, forgetKey, reportIntervalMs: 1_000, ttlMs: 10_000 },
    withdrawOrders: (clusterId, isReached) => commands.agentRestored(clusterId, isReached),
    onEvent: (event) => events.record(event),
  });
  const commands = await openCommands({
    ...{ ...shared, advance },
    beginStretches: (count, beside) => stores.beginStretches(count, beside),
    fence: () => stores.fence,
    refusal: (clusterId) =>
      stores.restored ? "restored; `berth fleet adopt`" : agents.refusal(clusterId),
    knows: (clusterId) => agents.knows(ORG, clusterId),
  });
  const adoption = new FleetAdoption({
    ...{ stores, agents: agents.sessions, unknown: agents.unknown },
    logger: silentLogger,
  });
  stretches.start();
  return { store, stores, stretches, events, agents, commands, adoption };
}

/** A store that refuses writes while there is a reason, as SQLite's does when the disk is full. */
function onFullDisk(store: DocumentStore, failure: () => string | undefined): DocumentStore {
  const apply = store.apply.bind(store);
  store.apply = async (writes) => {
    const why = failure();
    if (why !== undefined) throw new BerthError("UNAVAILABLE", why);
    return await apply(writes);
  };
  return store;
}
