import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import http2 from "node:http2";
import { tmpdir } from "node:os";
import path from "node:path";
import { EnrolmentService } from "@berth/proto";
import {
  type DocumentStore,
  type Http2Server,
  loadConfig,
  MAX_ENROL_BYTES,
  newSecret,
  openSqliteDocumentStore,
  type Part,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { stretchOf } from "../fleet/term-id.ts";
import { settings } from "../settings.ts";
import { identityOf, TestAgent } from "../testing/agents.ts";
import { NO_POLICIES } from "../testing/no-policies.ts";
import { agentPort, type Fleet, openFleet } from "./compose-fleet.ts";

const ORG = "default_org";
let directory: string;
let store: DocumentStore;
let fleet: Fleet;
let port: Http2Server;
let agent: TestAgent;
let key: string;
let token: string;

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-compose-fleet-"));
  store = openSqliteDocumentStore(":memory:", systemClock);
  fleet = await openFleet(configFor({}), store, silentLogger);
  port = portOf(
    agentPort(
      { ...configFor({}), agentPort: 0 },
      { fleet, policies: NO_POLICIES, logger: silentLogger },
    ),
  );
  await port.start();
  key = newSecret();
  agent = new TestAgent(url(), "c1", key);
  token = (await fleet.enrolment.createToken({ subjectId: "c1", maxUses: 0 })).token;
});
afterEach(async () => {
  agent.close();
  await port.stop();
  fleet.commands.close();
  fleet.agents.sessions.close();
  await fleet.stretches.stop();
  await fleet.events.close();
  await store.close();
  rmSync(directory, { recursive: true });
});

function configFor(env: Record<string, string>) {
  const loaded = loadConfig(settings, { BERTH_DATA_DIR: directory, ...env });
  if (loaded.kind === "invalid") throw new Error(loaded.problems.join("; "));
  return loaded.config;
}

function portOf(part: Part): Http2Server {
  if ("port" in part) return part as Http2Server;
  throw new Error("expected a part with a port");
}

const url = () => `http://127.0.0.1:${port.port}`;
const sha256 = (text: string) => createHash("sha256").update(text).digest();

/** Binds cluster c1 to the SHA-256 of a key. */
function enrol(keySha256: Uint8Array): Promise<void> {
  const identity = identityOf("c1");
  return fleet.enrolment.enrol(`Bearer ${token}`, { subjectId: "c1", identity, keySha256 });
}

describe("the term", () => {
  it("goes on with each order, and agents are told without one", async () => {
    await enrol(sha256(key));
    const { sessionId, fence } = await agent.register();
    const other = newSecret();
    const { token: otherToken } = await fleet.enrolment.createToken({ subjectId: "c2" });
    const bound = { subjectId: "c2", identity: identityOf("c2"), keySha256: sha256(other) };
    await fleet.enrolment.enrol(`Bearer ${otherToken}`, bound);
    const idle = new TestAgent(url(), "c2", other);
    const registered = await idle.register();
    const news = idle.commands(registered.sessionId).next();
    const orders = agent.commands(sessionId);
    void fleet.commands.send("c1", { kind: "echo", text: "hi", holdMs: 0 }, { timeoutMs: 60_000 });
    let told = (await orders.next()).value;
    while (told?.command === undefined) told = (await orders.next()).value;
    expect(told.command.fence).toMatchObject({ controllerTerm: 1n });
    expect(told.command.fence?.termId).not.toBe(fence?.termId);
    const { value } = await news;
    expect(value?.command).toBeUndefined();
    const numberOf = (termId = "") => stretchOf(termId)?.number ?? 0;
    expect(numberOf(value?.termId)).toBeGreaterThan(numberOf(registered.fence?.termId));
    idle.close();
  });
});

describe("a cluster's key", () => {
  it("ends its session at once when another one takes its place", async () => {
    await enrol(sha256(key));
    const state = await agent.join();
    await enrol(sha256("another key"));
    await expect(state.answer()).rejects.toThrow("the agent's key has ended");
    expect(fleet.agents.sessions.status(ORG)).toEqual([]);
    await expect(agent.register()).rejects.toThrow("this key is not enrolled");
    await vi.waitFor(async () => {
      const [event] = await fleet.events.list({ kind: "agent_lost", limit: 1 });
      expect(event?.clusterId).toBe("c1");
    });
  });

  it("ends with a forced removal of the cluster, its orders refused", async () => {
    await enrol(sha256(key));
    const state = await agent.join();
    const order = { kind: "echo", text: "hi", holdMs: 0 } as const;
    const sent = fleet.commands.send("c1", order, { timeoutMs: 60_000 });
    await vi.waitFor(async () => {
      expect(await fleet.commands.list({ state: "pending", limit: 1 })).toHaveLength(1);
    });
    expect(await fleet.agents.forget(ORG, "c1", { force: true })).toBe(true);
    await expect(state.answer()).rejects.toThrow("the cluster was removed");
    expect(await sent).toMatchObject({ kind: "refused", reason: "CONFLICT" });
    await expect(agent.register()).rejects.toThrow("this key is not enrolled");
    expect(await fleet.agents.knows(ORG, "c1")).toBe(false);
    expect(await fleet.agents.forget(ORG, "c1")).toBe(false);
  });
});

describe("the agent port", () => {
  it("reads no large message of who has a token only", async () => {
    const sessionManager = new Http2SessionManager(url());
    const transport = createConnectTransport({ httpVersion: "2", baseUrl: url(), sessionManager });
    const identity = "x".repeat(MAX_ENROL_BYTES);
    const call = createClient(EnrolmentService, transport).enrol(
      { subjectId: "c1", identity, keySha256: sha256("k") },
      { headers: { authorization: `Bearer ${token}` } },
    );
    await expect(call).rejects.toSatisfy(
      (thrown) => thrown instanceof ConnectError && thrown.code === Code.ResourceExhausted,
    );
    sessionManager.abort();
  });

  it("cuts off who shows no credential, after a grace, and leaves agents alone", async () => {
    await enrol(sha256(key));
    await agent.join();
    const silent = http2.connect(url());
    silent.on("error", () => undefined);
    await new Promise<void>((resolve) => silent.once("close", () => resolve()));
    expect(fleet.agents.sessions.status(ORG)[0]?.connected).toBe(true);
  }, 30_000);

  it("has 8 calls of one connection open at once", async () => {
    const client = http2.connect(url());
    await new Promise<void>((resolve) => client.once("remoteSettings", () => resolve()));
    expect(client.remoteSettings.maxConcurrentStreams).toBe(8);
    client.destroy();
  });

  it("names the setting of a host that it cannot listen on", async () => {
    const config = configFor({ BERTH_AGENT_HOST: "192.0.2.1" });
    const broken = agentPort(config, { fleet, policies: NO_POLICIES, logger: silentLogger });
    await expect(broken.start()).rejects.toThrow("BERTH_AGENT_HOST");
  });
});
