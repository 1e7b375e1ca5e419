import { createHash } from "node:crypto";
import type { BlockDocument, LedgerDocument, OperationDocument } from "@berth/proto";
import { silentLogger, systemClock } from "@berth/service-kit";
import { Code } from "@connectrpc/connect";
import { beforeEach, describe, expect, it, vi } from "vitest";
import type { FleetBlocks } from "../../fleet/agent-api.ts";
import { AgentBlocks } from "../../fleet/fleet-blocks.ts";
import { entry, OTHER_INSTANCE, type StateStream } from "../../testing/agents.ts";
import { hasCode, useLinkServer } from "../../testing/link-fixture.ts";
import { ORG } from "../../testing/link-server.ts";

const link = useLinkServer();
let blocks: FleetBlocks;

beforeEach(() => {
  const { clusters } = link.server.sessions;
  const clock = { ...systemClock, nowMs: () => link.server.nowMs };
  blocks = new AgentBlocks({ clusters, orgId: ORG, clock, logger: silentLogger });
});

const times = { created_at: "2026-11-22T12:00:00.000Z", updated_at: "2026-11-22T12:00:00.000Z" };
const block: BlockDocument = {
  ...{ block_id: "echo", phase: "running", component_uri: "model.echo:1.0-stable" },
  instances: [
    {
      ...{ instance_id: "in-1", node_id: "node-1", gpus: [{ uuid: "GPU-1", memory: 4_096 }] },
      ...{ phase: "running", ready: true, restarts: 0, allocation_id: "al-1" },
    },
  ],
  ...times,
};
const operation: OperationDocument = {
  ...{ operation_id: "op-1", action: "create_block", block_id: "echo", state: "done" },
  ...{ step: "done", progress: { done: 1, total: 1 }, attempts: 1, ...times },
};
const claim = {
  node_id: "node-1",
  gpus: [{ uuid: "GPU-1" }],
  cpu_millis: 0,
  memory: 0,
  storage: 0,
};
const allocation = {
  ...{ allocation_id: "al-1", block_id: "echo", instance_id: "in-1", operation_id: "op-1" },
  ...{ ...claim, state: "committed", orphan: false, taken_at: times.created_at },
};
const lease = {
  lease_id: "l1",
  subject: "s",
  ...claim,
  ttl_left_ms: 60_000,
  renewals: 0,
  age_ms: 0,
};
const ledger: LedgerDocument = { state: "open", generation: 1, revision: "12" };
const told = [
  entry("block/echo", 2, block),
  entry("holds/node-1", 3, { allocations: [allocation], leases: [lease] }),
  entry("ledger", 4, ledger),
  entry("operation/op-1", 5, operation),
];
const gone = (key: string, revision: number) => ({
  ...entry(key, revision, null),
  ...{ json: "", deleted: true },
});

async function send(state: StateStream, entries: ReturnType<typeof entry>[]): Promise<void> {
  state.send({ entries });
  await state.answer();
}

describe("what agents tell of their blocks", () => {
  it("appears, changes, and vanishes by key, and says whether it is live", async () => {
    expect(blocks.of("c1")).toBeUndefined();
    const state = await link.agent.join();
    expect(blocks.of("c1")).toBeUndefined();
    const heard: string[] = [];
    const end = blocks.onChange((clusterId) => heard.push(clusterId));
    await send(state, told);
    expect(blocks.of("c1")).toMatchObject({
      ...{ clusterId: "c1", ledger, isBehind: false, isLive: true },
      ...{ allocations: [allocation], leases: [lease] },
    });
    expect(blocks.of("c1")?.blocks).toEqual(new Map([["echo", block]]));
    expect(blocks.of("c1")?.operations).toEqual(new Map([["op-1", operation]]));
    expect(blocks.all()).toHaveLength(1);
    expect(blocks.withBlock("echo").map(({ clusterId }) => clusterId)).toEqual(["c1"]);
    expect(blocks.withBlock("other")).toEqual([]);
    await vi.waitFor(() => expect(heard).toEqual(["c1"]));
    end();
    await send(state, [gone("block/echo", 6), gone("holds/node-1", 7)]);
    expect(blocks.of("c1")).toMatchObject({ allocations: [], leases: [], ledger });
    expect(blocks.withBlock("echo")).toEqual([]);
    link.server.sessions.lose("c1", "silent");
    expect(blocks.of("c1")).toMatchObject({ isLive: false, ledger });
    expect(heard).toEqual(["c1"]);
  });

  it("is part of the digest: an agent that holds the same sends none of it, another all of it", async () => {
    const state = await link.agent.join();
    await send(state, told);
    const lines = [
      "block/echo\t2",
      "cluster\t1",
      "holds/node-1\t3",
      "ledger\t4",
      "operation/op-1\t5",
    ];
    const text = lines.map((line) => `${line}\n`).join("");
    const stateDigest = createHash("sha256").update(text).digest("hex");
    expect((await link.agent.register({ stateDigest })).snapshotWanted).toBe(false);
    expect((await link.agent.register({ stateDigest: "other" })).snapshotWanted).toBe(true);
    const snapshot = await link.agent.join();
    expect(blocks.of("c1")).toBeUndefined();
    await send(snapshot, told);
    expect(blocks.of("c1")?.blocks.size).toBe(1);
  });

  it("is forgotten with the cluster, and with an agent that came back with an older copy of its state", async () => {
    await send(await link.agent.join(), told);
    const heard = new Set<string>();
    blocks.onChange((clusterId) => heard.add(clusterId));
    await link.server.agents.forget(ORG, "c1", { force: true });
    expect(blocks.of("c1")).toBeUndefined();
    expect(blocks.all()).toEqual([]);
    await vi.waitFor(() => expect([...heard]).toEqual(["c1"]));
    await send(await link.agent.join({ agentIncarnation: 5n }), told);
    expect(blocks.of("c1")?.blocks.size).toBe(1);
    link.agent.close();
    link.server.nowMs = 10_001;
    link.server.sessions.expire();
    const restored = { agentIncarnation: 4n, agentInstanceId: OTHER_INSTANCE };
    const another = link.newAgent();
    await vi.waitFor(() => another.register(restored));
    expect(blocks.of("c1")).toBeUndefined();
  });

  it.each([
    [entry("block/", 2, block), /unknown key "block\/"/],
    [entry("blocks/echo", 2, block), /unknown key/],
    [entry("block/other", 2, block), /entry "block\/other": block_id: expected "other"/],
    [entry("block/echo", 2, { ...block, instances: [{}] }), /entry "block\/echo": .*instances/],
    [entry("operation/op-1", 2, { ...operation, state: "odd" }), /entry "operation\/op-1": state/],
    [entry("operation/op-2", 2, operation), /operation_id: expected "op-2"/],
    [entry("ledger", 2, { ...ledger, revision: 12 }), /entry "ledger": revision/],
    [entry("holds/n2", 2, { allocations: [], leases: [lease] }), /node_id: expected "n2"/],
    [entry("holds/node-1", 2, { allocations: [] }), /entry "holds\/node-1": leases/],
  ])("is refused when it is none: %#", async (bad, message) => {
    const state = await link.agent.join();
    state.send({ entries: [...told, bad] });
    const refused = state.answer();
    await expect(refused).rejects.toSatisfy(hasCode(Code.InvalidArgument));
    await expect(refused).rejects.toThrow(message);
    expect(blocks.of("c1")).toBeUndefined();
  });
});
