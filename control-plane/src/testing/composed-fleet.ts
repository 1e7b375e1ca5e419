import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { EnrolmentService } from "@berth/proto";
import {
  type DocumentStore,
  type Http2Server,
  loadConfig,
  newSecret,
  openSqliteDocumentStore,
  type Part,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { afterEach } from "vitest";
import { agentPort, type Fleet, fleetParts, openFleet } from "../compose/compose-fleet.ts";
import { settings } from "../settings.ts";
import { identityOf, TestAgent } from "./agents.ts";
import { NO_POLICIES } from "./no-policies.ts";

/** An agent with a key of its own, enrolled or not. */
export interface KeyedAgent {
  readonly agent: TestAgent;
  readonly key: string;
  /** Asks for the key to be bound by a token's text; rejects as the port refuses. */
  enrol(token: string, identity?: string): Promise<void>;
}

/**
 * The fleet as the program puts it together, on its real agent port: enrolment, gates, sweeps. Only the store is in
 * memory.
 */
export class ComposedFleet {
  readonly fleet: Fleet;
  readonly #port: Http2Server;
  readonly #parts: readonly Part[];
  readonly #store: DocumentStore;
  readonly #ends: (() => void)[] = [];
  #isClosed = false;

  private constructor(fleet: Fleet, port: Http2Server, store: DocumentStore) {
    this.fleet = fleet;
    this.#port = port;
    this.#parts = fleetParts(fleet, silentLogger);
    this.#store = store;
  }

  /** Opens it with settings of the environment, on a new store. */
  static async open(
    directory: string,
    env: Readonly<Record<string, string>> = {},
  ): Promise<ComposedFleet> {
    const loaded = loadConfig(settings, { BERTH_DATA_DIR: directory, ...env });
    if (loaded.kind === "invalid") throw new Error(loaded.problems.join("; "));
    const { config } = loaded;
    const store = openSqliteDocumentStore(":memory:", systemClock);
    const fleet = await openFleet(config, store, silentLogger);
    const port = agentPort(
      { ...config, agentPort: 0 },
      { fleet, policies: NO_POLICIES, logger: silentLogger },
    );
    if (!("port" in port)) throw new Error("expected a part with a port");
    const composed = new ComposedFleet(fleet, port as Http2Server, store);
    for (const part of [...composed.#parts, port]) await part.start();
    return composed;
  }

  /** "http://127.0.0.1:<port>". */
  get url(): string {
    return `http://127.0.0.1:${this.#port.port}`;
  }

  /** An agent of a cluster with the given key, or a new one, and a connection of its own. */
  newAgent(clusterId = "c1", key = newSecret()): KeyedAgent {
    const agent = new TestAgent(this.url, clusterId, key);
    this.#ends.push(() => agent.close());
    const keySha256 = createHash("sha256").update(key).digest();
    return {
      ...{ agent, key },
      enrol: async (token, identity = identityOf(clusterId)) => {
        const sessionManager = new Http2SessionManager(this.url);
        const dialled = { httpVersion: "2", baseUrl: this.url, sessionManager } as const;
        const client = createClient(EnrolmentService, createConnectTransport(dialled));
        const headers = { authorization: `Bearer ${token}` };
        try {
          await client.enrol({ subjectId: clusterId, identity, keySha256 }, { headers });
        } finally {
          sessionManager.abort();
        }
      },
    };
  }

  /** Kinds of the events of a cluster, the oldest first. */
  async eventKinds(clusterId = "c1"): Promise<string[]> {
    const events = await this.fleet.events.list({ clusterId, limit: 100 });
    return events.map(({ kind }) => kind).reverse();
  }

  /** Ends everything; its store is lost. Nothing happens the second time. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const end of this.#ends) end();
    await this.#port.stop();
    for (const part of this.#parts.toReversed()) await part.stop();
    await this.#store.close();
  }
}

/** Opens fleets, each on a new store and all on one data directory, and closes them after the test. */
export function useComposedFleets(): (
  env?: Readonly<Record<string, string>>,
) => Promise<ComposedFleet> {
  const opened: ComposedFleet[] = [];
  let directory: string | undefined;
  afterEach(async () => {
    for (const fleet of opened.splice(0)) await fleet.close();
    if (directory !== undefined) rmSync(directory, { recursive: true });
    directory = undefined;
  });
  return async (env) => {
    directory ??= mkdtempSync(path.join(tmpdir(), "berth-composed-"));
    const fleet = await ComposedFleet.open(directory, env);
    opened.push(fleet);
    return fleet;
  };
}
