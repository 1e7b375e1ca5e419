import { AgentService, ClusterIdentityKind } from "@berth/proto";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { describe, expect, it, vi } from "vitest";
import { hello, INSTANCE, keyOf, OTHER_INSTANCE, type RegisterInit } from "../../testing/agents.ts";
import { hasCode, STATE_DIGEST, useLinkServer } from "../../testing/link-fixture.ts";
import { ORG } from "../../testing/link-server.ts";

const link = useLinkServer();

describe("AgentService.register", () => {
  it("refuses a call without a key", async () => {
    const call = link.agent.client.register(hello());
    await expect(call).rejects.toSatisfy(hasCode(Code.Unauthenticated));
  });

  it("tells the agent its fence, and raises the term at each start on the same store", async () => {
    const first = await link.agent.register();
    expect(first.fence).toMatchObject({ controllerTerm: 1n, agentIncarnation: 1n });
    expect(first).toMatchObject({
      snapshotWanted: true,
      reportIntervalMs: 1_000,
      ttlMs: 10_000,
      adoptedStoreIds: [],
    });
    await link.restart();
    const second = await link.agent.register();
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
    ["known store", { knownStoreId: "x".repeat(129) }, "known_store_id"],
    ["known term", { knownControllerTerm: 2n ** 53n }, "known_controller_term"],
    ["known term id", { knownTermId: "x".repeat(129) }, "known_term_id"],
    ["former instance", { formerInstanceIds: ["x"] }, "former_instance_ids"],
    ["past", { formerInstanceIds: Array(257).fill(INSTANCE) }, "former_instance_ids"],
  ])("refuses a bad %s by name", async (_name, overrides, field) => {
    await expect(link.agent.register(overrides)).rejects.toThrow(field);
  });

  it("takes the cluster from the key, whatever the message claims", async () => {
    const call = link.agent.register({ clusterId: "c2" });
    await expect(call).rejects.toSatisfy(hasCode(Code.PermissionDenied));
    expect(link.server.sessions.status(ORG)).toEqual([]);
  });

  it("refuses another identity than the key was enrolled for, and tells it as an event", async () => {
    const identity = { kind: ClusterIdentityKind.PROCESS, value: "another:machine" };
    const call = link.agent.register({ identity });
    await expect(call).rejects.toSatisfy(hasCode(Code.AlreadyExists));
    await expect(link.agent.register({ identity })).rejects.toThrow("bound to another cluster");
    // The second refusal within a minute is the same news.
    await vi.waitFor(async () => expect(await link.eventKinds()).toEqual(["agent_refused"]));
  });

  it("refuses an identity that an older version bound to the cluster id", async () => {
    const key = { orgId: ORG, collection: "cluster_bindings", id: "c1" };
    const body = { identity: "process:former:machine", incarnation: "1" };
    await link.server.store.apply([{ kind: "insert", key, body }]);
    await expect(link.agent.register()).rejects.toSatisfy(hasCode(Code.AlreadyExists));
  });

  it("lets another process wait while the newest is there, and takes it with its state restored when that is silent", async () => {
    await link.agent.join({ agentIncarnation: 5n });
    const restored = { agentIncarnation: 4n, agentInstanceId: OTHER_INSTANCE };
    await expect(link.agent.register(restored)).rejects.toSatisfy(hasCode(Code.Unavailable));
    link.server.nowMs = 10_001;
    link.server.sessions.expire();
    const accepted = await link.agent.register(restored);
    expect(accepted).toMatchObject({ snapshotWanted: true, fence: { agentIncarnation: 4n } });
    await vi.waitFor(async () => expect(await link.eventKinds()).toContain("agent_restored"));
  });

  it.each<[string, RegisterInit, boolean]>([
    ["another process that knows nothing of the last one", {}, true],
    ["a later start that does not descend from it", { agentIncarnation: 9n }, true],
    ["a later start of its own", { agentIncarnation: 2n, formerInstanceIds: [INSTANCE] }, false],
    ["a start of its own whose count was lost", { formerInstanceIds: [INSTANCE] }, false],
  ])(
    "knows whether all state has to come again from %s",
    async (_what, overrides, snapshotWanted) => {
      await link.agent.join();
      link.server.nowMs = 10_001;
      link.server.sessions.expire();
      const next = { agentInstanceId: OTHER_INSTANCE, stateDigest: STATE_DIGEST, ...overrides };
      expect(await link.agent.register(next)).toMatchObject({ snapshotWanted });
      await vi.waitFor(async () => expect(await link.eventKinds()).toContain("agent_lost"));
      expect((await link.eventKinds()).includes("agent_restored")).toBe(snapshotWanted);
    },
  );

  it("compares numbers with what a former version remembered", async () => {
    const key = { orgId: ORG, collection: "cluster_bindings", id: "c1" };
    const body = { identity: "process:machine:c1", incarnation: "5" };
    await link.server.store.apply([{ kind: "insert", key, body }]);
    await link.agent.register({ agentIncarnation: 4n });
    await vi.waitFor(async () => {
      expect(await link.eventKinds()).toEqual(["agent_connected", "agent_restored"]);
    });
  });

  it("refuses a message larger than its limit, compressed or not", async () => {
    const stateDigest = "\n".repeat(4 * 1024 * 1024);
    await expect(link.agent.register({ stateDigest })).rejects.toSatisfy(
      hasCode(Code.ResourceExhausted),
    );
    const call = link.agent.complete("session", "x", stateDigest);
    await expect(call).rejects.toSatisfy(hasCode(Code.ResourceExhausted));
  });

  it("serves gRPC clients too", async () => {
    const sessionManager = new Http2SessionManager(link.server.url);
    const transport = createGrpcTransport({ baseUrl: link.server.url, sessionManager });
    const headers = { authorization: `Bearer ${keyOf("c1")}` };
    const answer = await createClient(AgentService, transport).register(hello(), { headers });
    expect(answer).toMatchObject({ ttlMs: 10_000 });
    sessionManager.abort();
  });
});
