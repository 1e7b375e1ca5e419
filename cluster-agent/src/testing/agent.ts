import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { NodeService } from "@berth/proto";
import { silentLogger, startAll, stopAll, systemClock } from "@berth/service-kit";
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

/** Token that node-agents of the tests present. */
export const NODE_TOKEN = "node-secret";

/** A started agent on free ports. `stop` may be called before the test is over, once. */
export async function startAgent(
  cleanup: Cleanup,
  overrides: Partial<ClusterAgentOptions["config"]>,
): Promise<ClusterAgent & { stop: () => Promise<void> }> {
  const config: ClusterAgentOptions["config"] = {
    dataDir: overrides.dataDir ?? (await cleanup.directory()),
    host: "127.0.0.1",
    httpPort: 0,
    nodePort: 0,
    controlPlaneUrl: "http://127.0.0.1:9",
    linkToken: "link-secret",
    nodeToken: NODE_TOKEN,
    clusterId: "c1",
    regionId: "eu",
    clusterTags: [],
    nodeTtlMs: 15_000,
    allowedHosts: [],
    allowedOrigins: [],
    ...overrides,
  };
  const agent = await composeClusterAgent({ config, clock: systemClock, logger: silentLogger });
  let stopped = false;
  const stop = async () => {
    if (stopped) return;
    stopped = true;
    await stopAll(agent.parts, silentLogger);
  };
  cleanup.add(stop);
  await startAll(agent.parts, silentLogger);
  return { ...agent, stop };
}

/** A connect-node client of an agent's node port. */
export function nodeClient(cleanup: Cleanup, agent: ClusterAgent): Client<typeof NodeService> {
  const baseUrl = `http://127.0.0.1:${agent.nodePort()}`;
  const sessionManager = new Http2SessionManager(baseUrl);
  cleanup.add(() => sessionManager.abort());
  return createClient(
    NodeService,
    createConnectTransport({ baseUrl, httpVersion: "2", sessionManager }),
  );
}

/** Headers that the node port lets in. */
export const AUTHORIZED = { headers: { authorization: `Bearer ${NODE_TOKEN}` } } as const;

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
