import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { type Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach } from "vitest";
import type { ClusterRegistry } from "../fleet/cluster-registry.ts";
import type { AdmissionLimits } from "../fleet/snapshot-admission.ts";
import { TestAgent } from "./agents.ts";
import { LinkServer } from "./link-server.ts";

/** An order that an agent answers at once. */
export const ECHO = { kind: "echo", text: "hi", holdMs: 0 } as const;

/** Digest of the state that `TestAgent.join` sends: the cluster document at revision 1. */
export const STATE_DIGEST = createHash("sha256").update("cluster\t1\n").digest("hex");

/** Whether what was thrown is a Connect error of this code, for `toSatisfy`. */
export function hasCode(code: Code): (thrown: unknown) => boolean {
  return (thrown) => thrown instanceof ConnectError && thrown.code === code;
}

/** What {@link useLinkServer} gives each test: a server on a directory of its own, and its agents. */
export class LinkFixture {
  #opened: { readonly directory: string; readonly server: LinkServer } | undefined;
  #agents: TestAgent[] = [];
  #agent: TestAgent | undefined;
  #registry: ClusterRegistry | undefined;

  get directory(): string {
    return this.#current.directory;
  }
  get server(): LinkServer {
    return this.#current.server;
  }
  /** The agent of cluster c1 that was made when it was first asked for; another one after a stop. */
  get agent(): TestAgent {
    this.#agent ??= this.newAgent();
    return this.#agent;
  }
  /** The registry that was made when it was first asked for; another one after a stop. */
  get registry(): ClusterRegistry {
    this.#registry ??= this.server.registry();
    return this.#registry;
  }

  /** An agent with a connection of its own to the started server, closed when the server is stopped. */
  newAgent(clusterId = "c1"): TestAgent {
    const agent = new TestAgent(this.server.url, clusterId);
    this.#agents.push(agent);
    return agent;
  }

  /** Kinds of the events of a cluster, the oldest first. */
  async eventKinds(clusterId = "c1"): Promise<string[]> {
    const events = await this.server.events.list({ clusterId, limit: 100 });
    return events.map(({ kind }) => kind).reverse();
  }

  /** Starts a server with these limits in place of the stopped one. */
  async startWith(admission: Partial<AdmissionLimits>): Promise<void> {
    const { directory } = this;
    this.#opened = { directory, server: new LinkServer(directory, admission) };
    await this.server.start();
  }

  /** Closes the agents and stops the server; nothing happens when it is stopped already. */
  async stop(): Promise<void> {
    for (const agent of this.#agents) agent.close();
    this.#agents = [];
    this.#agent = undefined;
    this.#registry = undefined;
    await this.server.stop();
  }

  /** Stops, and starts the same server on its store with a new term. */
  async restart(): Promise<void> {
    await this.stop();
    await this.server.start();
  }

  /** Makes a directory and a server that is not started yet. */
  open(): void {
    const directory = mkdtempSync(path.join(tmpdir(), "berth-link-"));
    this.#opened = { directory, server: new LinkServer(directory) };
  }

  /** Ends everything and removes its files. */
  async close(): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true });
    this.#opened = undefined;
  }

  get #current(): { readonly directory: string; readonly server: LinkServer } {
    if (this.#opened === undefined) throw new Error("the link server exists within a test only");
    return this.#opened;
  }
}

/**
 * Gives each test of the calling file or suite a {@link LinkServer}, started unless `isStarted` is
 * false, and closes it after the test. Not for tests that run concurrently.
 */
export function useLinkServer({ isStarted = true } = {}): LinkFixture {
  const link = new LinkFixture();
  beforeEach(async () => {
    link.open();
    if (isStarted) await link.server.start();
  });
  afterEach(() => link.close());
  return link;
}
