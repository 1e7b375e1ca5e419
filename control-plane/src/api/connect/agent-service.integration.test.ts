import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  type AgentReportRequestSchema,
  AgentService,
  ClusterIdentityKind,
  EntrySchema,
  type StateRequestSchema,
} from "@berth/proto";
import {
  authenticationGate,
  type Clock,
  createHttp2Server,
  errorMapping,
  type Http2Server,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
  tokenAuthenticator,
} from "@berth/service-kit";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import {
  connectNodeAdapter,
  createConnectTransport,
  createGrpcTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AgentSessions } from "../../fleet/agent-sessions.ts";
import { ClusterRegistry } from "../../fleet/cluster-registry.ts";
import { aDocument, someMetrics } from "../../testing/documents.ts";
import { agentRoutes } from "./agent-service.ts";

const ORG = "default_org";
const TOKEN = "a-token";
const INSTANCE = "00000000-0000-4000-8000-000000000001";
const OTHER_INSTANCE = "00000000-0000-4000-8000-000000000002";
const headers = { authorization: `Bearer ${TOKEN}` };

let directory: string;
let nowMs: number;
let server: Http2Server;
let sessions: AgentSessions;
let registry: ClusterRegistry;
let manager: Http2SessionManager;
let client: Client<typeof AgentService>;
let closeStore: () => Promise<void>;

async function start(): Promise<void> {
  const clock: Clock = { ...systemClock, nowMs: () => nowMs };
  const store = openSqliteDocumentStore(path.join(directory, "cp.db"), clock);
  closeStore = () => store.close();
  const controllerTerm = BigInt(await store.raise("controller_term"));
  const fence = { storeId: await store.storeId(), controllerTerm };
  sessions = new AgentSessions({ store, clock, logger: silentLogger });
  registry = new ClusterRegistry({ store, agents: sessions });
  server = createHttp2Server({
    name: "agent link",
    address: { host: "127.0.0.1", port: 0, setting: "BERTH_AGENT_PORT" },
    logger: silentLogger,
    handler: connectNodeAdapter({
      requestGate: authenticationGate(tokenAuthenticator(ORG, TOKEN)),
      interceptors: [errorMapping(silentLogger)],
      readMaxBytes: 100_000,
      routes: (router) =>
        agentRoutes(router, {
          agents: sessions,
          authenticate: tokenAuthenticator(ORG, TOKEN),
          store: fence,
        }),
    }),
  });
  await server.start();
  const baseUrl = `http://127.0.0.1:${server.port}`;
  manager = new Http2SessionManager(baseUrl);
  client = createClient(
    AgentService,
    createConnectTransport({ httpVersion: "2", baseUrl, sessionManager: manager }),
  );
}

async function stop(): Promise<void> {
  sessions.close();
  manager.abort();
  await server.stop();
  await closeStore();
}

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-agent-service-"));
  nowMs = 0;
  await start();
});

afterEach(async () => {
  await stop();
  rmSync(directory, { recursive: true });
});

interface RegisterInit {
  clusterId?: string;
  identity?: { kind: ClusterIdentityKind; value: string };
  agentIncarnation?: bigint;
  agentInstanceId?: string;
  stateDigest?: string;
}

const hello = (overrides: RegisterInit = {}) => ({
  clusterId: "c1",
  identity: { kind: ClusterIdentityKind.PROCESS, value: "machine:directory" },
  agentIncarnation: 1n,
  agentInstanceId: INSTANCE,
  ...overrides,
});

const entry = (key: string, revision: number, value: unknown) =>
  create(EntrySchema, { key, revision: BigInt(revision), json: JSON.stringify(value) });

/** An async queue that plays the agent's side of a stream. */
function aStream<T>(): AsyncIterable<T> & { push(value: T): void; end(): void } {
  const values: T[] = [];
  let done = false;
  let wake = (): void => {};
  const turn = () => {
    wake();
  };
  return {
    push(value) {
      values.push(value);
      turn();
    },
    end() {
      done = true;
      turn();
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        const value = values.shift();
        if (value !== undefined) yield value;
        else if (done) return;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    },
  };
}

async function openState(sessionId: string) {
  const requests = aStream<MessageInitShape<typeof StateRequestSchema>>();
  const acks = client.state(requests as never, { headers })[Symbol.asyncIterator]();
  return { sessionId, requests, acks };
}

async function joinWithDocument(
  overrides: RegisterInit = {},
): Promise<Awaited<ReturnType<typeof openState>>> {
  const { sessionId } = await client.register(hello(overrides), { headers });
  const state = await openState(sessionId);
  state.requests.push({
    sessionId,
    streamSeq: 1n,
    snapshot: true,
    snapshotEnd: true,
    entries: [entry("cluster", 1, aDocument("c1"))],
  });
  expect((await state.acks.next()).value?.ackedStreamSeq).toBe(1n);
  return state;
}

const codeOf = (thrown: unknown): Code | undefined =>
  thrown instanceof ConnectError ? thrown.code : undefined;

describe("AgentService", () => {
  it("refuses a call without the token", async () => {
    const call = client.register(hello());
    await expect(call).rejects.toSatisfy((thrown) => codeOf(thrown) === Code.Unauthenticated);
  });

  it("tells the agent its fence, and raises the term at each start on the same store", async () => {
    const first = await client.register(hello(), { headers });
    expect(first.fence).toMatchObject({ controllerTerm: 1n, agentIncarnation: 1n });
    expect(first.snapshotWanted).toBe(true);
    await stop();
    await start();
    const second = await client.register(hello(), { headers });
    expect(second.fence?.storeId).toBe(first.fence?.storeId);
    expect(second.fence?.controllerTerm).toBe(2n);
  });

  it.each<[string, RegisterInit, string]>([
    ["cluster id", { clusterId: "../x" }, "cluster_id"],
    ["identity", { identity: { kind: ClusterIdentityKind.PROCESS, value: "" } }, "identity.value"],
    [
      "identity kind",
      { identity: { kind: ClusterIdentityKind.UNSPECIFIED, value: "x" } },
      "identity.kind",
    ],
    ["incarnation", { agentIncarnation: 0n }, "agent_incarnation"],
    ["huge incarnation", { agentIncarnation: 2n ** 64n - 1n }, "agent_incarnation"],
    ["instance id", { agentInstanceId: "x" }, "agent_instance_id"],
  ])("refuses a bad %s by name", async (_name, overrides, field) => {
    const call = client.register(hello(overrides), { headers });
    await expect(call).rejects.toThrow(field);
  });

  it("binds a cluster id to its first identity for good", async () => {
    await client.register(hello(), { headers });
    await stop();
    await start();
    const identity = { kind: ClusterIdentityKind.PROCESS, value: "another:machine" };
    const call = client.register(hello({ identity }), { headers });
    await expect(call).rejects.toSatisfy((thrown) => codeOf(thrown) === Code.AlreadyExists);
  });

  it("refuses an older incarnation while the newest is live, and takes it when that is silent", async () => {
    await joinWithDocument({ agentIncarnation: 5n });
    const restored = hello({ agentIncarnation: 4n, agentInstanceId: OTHER_INSTANCE });
    const call = client.register(restored, { headers });
    await expect(call).rejects.toSatisfy((thrown) => codeOf(thrown) === Code.Aborted);
    nowMs = 10_001;
    sessions.expire();
    const accepted = await client.register(restored, { headers });
    expect(accepted).toMatchObject({ snapshotWanted: true, fence: { agentIncarnation: 4n } });
  });

  it("refuses a second agent on a copy of the same state, and takes a reconnect of the first", async () => {
    await joinWithDocument();
    const copy = hello({ agentInstanceId: OTHER_INSTANCE });
    await expect(client.register(copy, { headers })).rejects.toThrow("on a copy of this state");
    await expect(client.register(hello(), { headers })).resolves.toBeDefined();
  });

  it("refuses a message larger than its limit, compressed or not", async () => {
    const huge = hello({ stateDigest: "\n".repeat(200_000) });
    const call = client.register(huge, { headers });
    await expect(call).rejects.toSatisfy((thrown) => codeOf(thrown) === Code.ResourceExhausted);
  });

  it("makes a cluster live at the end of its snapshot, and shows reported metrics", async () => {
    const { sessionId } = await joinWithDocument();
    expect((await registry.get(ORG, "c1")).health).toBe("live");
    const reports = aStream<MessageInitShape<typeof AgentReportRequestSchema>>();
    const ended = client.report(reports as never, { headers });
    reports.push({
      sessionId,
      streamSeq: 1n,
      entries: [entry("metrics", 1, { vcpu: {} }), entry("node/node-1", 1, someMetrics())],
    });
    await vi.waitFor(async () => {
      expect((await registry.get(ORG, "c1")).nodes.get("node-1")?.status).toBe("healthy");
    });
    reports.end();
    await expect(ended).resolves.toMatchObject({ reason: expect.any(String) });
  });

  it("asks for no snapshot from an agent whose state it has", async () => {
    await joinWithDocument();
    const stateDigest = createHash("sha256").update("cluster\t1\n").digest("hex");
    const again = await client.register(hello({ stateDigest }), { headers });
    expect(again.snapshotWanted).toBe(false);
    expect((await registry.get(ORG, "c1")).health).toBe("live");
  });

  it("ends the streams of the older session when a newer one begins", async () => {
    const older = await joinWithDocument();
    const restarted = hello({ agentIncarnation: 2n, agentInstanceId: OTHER_INSTANCE });
    await client.register(restarted, { headers });
    await expect(older.acks.next()).rejects.toSatisfy((thrown) => codeOf(thrown) === Code.Aborted);
  });

  it("refuses a stream of an ended session and a skipped sequence number", async () => {
    const late = await openState("no-such-session");
    late.requests.push({ sessionId: late.sessionId, streamSeq: 1n });
    await expect(late.acks.next()).rejects.toThrow("register again");
    const state = await joinWithDocument();
    state.requests.push({ sessionId: state.sessionId, streamSeq: 3n });
    await expect(state.acks.next()).rejects.toThrow("stream_seq: expected 2, got 3");
  });

  it("names the bad entry of a message and keeps what it had", async () => {
    const state = await joinWithDocument();
    state.requests.push({
      sessionId: state.sessionId,
      streamSeq: 2n,
      entries: [entry("cluster", 2, aDocument("other"))],
    });
    await expect(state.acks.next()).rejects.toThrow('entry "cluster": id: expected "c1"');
    expect((await registry.get(ORG, "c1")).document.id).toBe("c1");
  });

  it("keeps the state that it had when a snapshot holds a bad entry", async () => {
    const state = await joinWithDocument();
    state.requests.push({
      sessionId: state.sessionId,
      streamSeq: 2n,
      snapshot: true,
      snapshotEnd: true,
      entries: [entry("cluster", 2, aDocument("c1")), entry("evil", 1, {})],
    });
    await expect(state.acks.next()).rejects.toThrow("unknown key");
    expect((await registry.get(ORG, "c1")).document).toEqual(aDocument("c1"));
  });

  it("calls a cluster unreachable after its TTL of silence, and live when it is back", async () => {
    const state = await joinWithDocument();
    nowMs = 10_001;
    sessions.expire();
    expect((await registry.get(ORG, "c1")).health).toBe("unreachable");
    await expect(state.acks.next()).rejects.toThrow("silent");
    await joinWithDocument();
    expect((await registry.get(ORG, "c1")).health).toBe("live");
  });

  it("forgets a cluster only when its agent has gone", async () => {
    await joinWithDocument();
    await expect(registry.remove(ORG, "c1")).rejects.toThrow("stop the agent first");
    nowMs = 10_001;
    sessions.expire();
    await registry.remove(ORG, "c1");
    await expect(registry.get(ORG, "c1")).rejects.toThrow("Cluster not found");
    const identity = { kind: ClusterIdentityKind.PROCESS, value: "another:machine" };
    await expect(client.register(hello({ identity }), { headers })).resolves.toBeDefined();
  });

  it("serves gRPC clients too", async () => {
    const baseUrl = `http://127.0.0.1:${server.port}`;
    const grpc = createClient(
      AgentService,
      createGrpcTransport({ baseUrl, sessionManager: manager }),
    );
    await expect(grpc.register(hello(), { headers })).resolves.toMatchObject({ ttlMs: 10_000 });
  });
});

describe("ClusterRegistry", () => {
  const document = {
    id: "by-hand",
    regionId: "eu",
    tags: ["gpu"],
    reputation: 90,
    extra: { a: 1 },
  };

  it("registers, updates, queries and removes a cluster without an agent", async () => {
    await registry.create(ORG, document);
    const view = await registry.get(ORG, "by-hand");
    expect(view.health).toBe("unknown");
    expect(view.document).toMatchObject({ ...document, nodes: { count: 0, nodeData: [] } });
    await registry.update(ORG, "by-hand", { $set: { reputation: 97 } });
    const found = await registry.query(ORG, { reputation: { $gt: 95 }, tags: "gpu" });
    expect(found.map(({ id }) => id)).toEqual(["by-hand"]);
    await registry.remove(ORG, "by-hand");
    await expect(registry.remove(ORG, "by-hand")).rejects.toThrow("Cluster not found");
  });

  it("refuses a taken id, a changed id, and a change of an agent's cluster", async () => {
    await registry.create(ORG, document);
    await expect(registry.create(ORG, document)).rejects.toThrow("exists already");
    await expect(registry.update(ORG, "by-hand", { id: "x" })).rejects.toThrow("cannot be changed");
    await joinWithDocument();
    await expect(registry.create(ORG, { id: "c1" })).rejects.toThrow("exists already");
    await expect(registry.update(ORG, "c1", { tags: [] })).rejects.toThrow("by its agent");
  });

  it("keeps orgs apart", async () => {
    await registry.create(ORG, document);
    expect((await registry.snapshot("other_org")).size).toBe(0);
  });

  it.each([
    [{}, "id: required field is missing"],
    [{ id: 3 }, "id: expected string, got number"],
    [{ id: "a", tags: "x" }, "tags: expected array, got string"],
    [{ id: "a", nodes: { nodeData: [{}] } }, "nodes.nodeData.0.id: required field is missing"],
  ])("names the bad field of %j", async (body, message) => {
    await expect(registry.create(ORG, body)).rejects.toThrow(message);
  });
});
