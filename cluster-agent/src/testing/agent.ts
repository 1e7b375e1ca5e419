import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { STATE_DIR } from "@berth/policy-sandbox/testing/state-dir";
import { EnrolmentService, NodeService } from "@berth/proto";
import { silentLogger, startAll, stopAll, systemClock } from "@berth/service-kit";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { type ClusterAgent, type ClusterAgentOptions, composeClusterAgent } from "../compose.ts";

/** Ends what a test has begun, last first, when the test is over. */
export class Cleanup {
  readonly #tasks: (() => Promise<unknown> | unknown)[] = [];

  add(task: () => Promise<unknown> | unknown): void {
    this.#tasks.push(task);
  }

  async run(): Promise<void> {
    for (let task = this.#tasks.pop(); task !== undefined; task = this.#tasks.pop()) await task();
  }

  /** A directory that lives as long as the test. */
  async directory(): Promise<string> {
    const directory = await mkdtemp(path.join(tmpdir(), "berth-cluster-agent-"));
    this.add(() => rm(directory, { recursive: true, force: true }));
    return directory;
  }
}

/** Enrolment token that the tests' agents take from node-agents of their machine. */
export const LOCAL_TOKEN = `berth1.${"L".repeat(43)}`;

/** Key of node-a on machine-a, which {@link startAgent} enrols. */
const NODE_KEY = "K".repeat(43);

/**
 * A started agent on free ports, with node-a enrolled: {@link AUTHORIZED} is its key. `stop` may be called
 * before the test is over, once.
 */
export async function startAgent(
  cleanup: Cleanup,
  overrides: Partial<ClusterAgentOptions["config"]>,
  replacements: Partial<ClusterAgentOptions> = {},
): Promise<ClusterAgent & { stop: () => Promise<void> }> {
  const config: ClusterAgentOptions["config"] = {
    dataDir: overrides.dataDir ?? (await cleanup.directory()),
    host: "127.0.0.1",
    httpPort: 0,
    nodePort: 0,
    controlPlaneUrl: "http://127.0.0.1:9",
    enrolmentToken: "",
    caFile: "",
    nodeHost: "",
    nodeNames: [],
    localToken: LOCAL_TOKEN,
    clusterId: "c1",
    regionId: "eu",
    clusterTags: [],
    sandboxDir: STATE_DIR,
    nodeTtlMs: 15_000,
    allowedHosts: [],
    allowedOrigins: [],
    ...overrides,
  };
  const logger = silentLogger;
  const agent = await composeClusterAgent({ config, clock: systemClock, logger, ...replacements });
  let stopped = false;
  const stop = async () => {
    if (stopped) return;
    stopped = true;
    await stopAll(agent.parts, silentLogger);
  };
  cleanup.add(stop);
  await startAll(agent.parts, silentLogger);
  const isKnown = agent.nodes.view("node-a") !== undefined;
  if (config.nodeHost === "" && !isKnown)
    await enrolNode(cleanup, agent, { id: "node-a", key: NODE_KEY });
  return { ...agent, stop };
}

/** Headers of a node that is enrolled on the agent from now on, on machine-a by default. */
export async function enrolNode(
  cleanup: Cleanup,
  agent: ClusterAgent,
  node: { id: string; key: string; machineId?: string; token?: string },
): Promise<{ headers: Record<string, string> }> {
  const { id: subjectId, key, machineId = "machine-a", token = LOCAL_TOKEN } = node;
  const keySha256 = createHash("sha256").update(key).digest();
  const request = { subjectId, identity: `machine:${machineId}`, keySha256 };
  const client = serviceClient(cleanup, agent, EnrolmentService);
  await client.enrol(request, { headers: { authorization: `Bearer ${token}` } });
  return { headers: { authorization: `Bearer ${key}` } };
}

/** A connect-node client of NodeService on an agent's node port. */
export function nodeClient(cleanup: Cleanup, agent: ClusterAgent): Client<typeof NodeService> {
  return serviceClient(cleanup, agent, NodeService);
}

function serviceClient<S extends DescService>(
  cleanup: Cleanup,
  agent: ClusterAgent,
  service: S,
): Client<S> {
  const baseUrl = `http://127.0.0.1:${agent.nodePort()}`;
  const sessionManager = new Http2SessionManager(baseUrl);
  cleanup.add(() => sessionManager.abort());
  return createClient(
    service,
    createConnectTransport({ baseUrl, httpVersion: "2", sessionManager }),
  );
}

/** Headers of node-a. */
export const AUTHORIZED = { headers: { authorization: `Bearer ${NODE_KEY}` } } as const;

/** A queue that a test fills and a stream reads. */
export class Outgoing<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  #wake: () => void = () => undefined;
  #ended = false;

  send(item: T): void {
    this.#items.push(item);
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) yield item;
      else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
