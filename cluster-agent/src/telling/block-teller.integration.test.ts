import type { BlockDocument, LedgerDocument, OperationDocument } from "@berth/proto";
import { afterEach, describe, expect, it } from "vitest";
import { Cleanup } from "../testing/agent.ts";
import { type BlockAgent, startBlockAgent } from "../testing/block-agent.ts";
import { FakeControlPlane, LINK_TOKEN } from "../testing/fake-control-plane.ts";
import { until } from "../testing/fixtures.ts";
import { ECHO_COMMAND } from "../testing/local-processes.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const component = { containerRegistryInfo: { command: ECHO_COMMAND } };
const block = (id: string, more: object = {}) => ({
  id,
  component,
  resources: { gpus: 1, cpuMillis: 100 },
  ...more,
});

interface Linked {
  readonly plane: FakeControlPlane;
  readonly fleet: BlockAgent;
}

async function linked(): Promise<Linked> {
  const plane = new FakeControlPlane({ storeId: "store-1", term: 1n, snapshotWanted: true });
  await plane.start(cleanup);
  const config = { controlPlaneUrl: plane.url, enrolmentToken: LINK_TOKEN };
  const fleet = await startBlockAgent(cleanup, { config });
  // Instances outlive their agent: what a test leaves is ended with it.
  cleanup.add(async () => {
    for (const { id } of fleet.blocks.book.blocks()) {
      await fleet.blocks.runtime.removeBlock(id, AbortSignal.timeout(20_000));
    }
  });
  await until("the ledger is told", () => told(plane, "ledger")?.state === "open");
  return { plane, fleet };
}

/** All entries of a key as they came. */
const entriesOf = (plane: FakeControlPlane, key: string) =>
  plane.states.flatMap(({ entries }) => entries).filter((entry) => entry.key === key);

/** What is told under a key; undefined when nothing is, or it is gone. */
// biome-ignore lint/suspicious/noExplicitAny: tests look at any field of any value
function told(plane: FakeControlPlane, key: string): any {
  const entry = entriesOf(plane, key).at(-1);
  return entry === undefined || entry.deleted ? undefined : JSON.parse(entry.json);
}

const lease = (fleet: BlockAgent, id: string, slot: number, ttl_ms = 60_000) =>
  fleet.call("POST", "/leases", {
    ...{ lease_id: id, subject: "s", ttl_ms, node_id: "node-a", gpus: [slot] },
  });

describe("what an agent tells of its blocks", () => {
  it("appears, changes with what runs, and vanishes when the block is removed", async () => {
    const { plane, fleet } = await linked();
    const entry = block("echo", { componentUri: "model.echo:1.0-stable", maxInstances: 3 });
    await fleet.act({ action: "create_block", block_data: entry });
    await until("the instance is told as ready", () => {
      const document = told(plane, "block/echo") as BlockDocument | undefined;
      return document?.instances[0]?.ready === true;
    });
    const [record] = fleet.blocks.book.instances("echo");
    expect(told(plane, "block/echo")).toEqual({
      ...{ block_id: "echo", phase: "running", component_uri: "model.echo:1.0-stable" },
      max_instances: 3,
      instances: [
        {
          ...{ instance_id: record?.instanceId, node_id: "node-a", gpus: [{ uuid: "GPU-0" }] },
          ...{ phase: "running", ready: true, restarts: 0, allocation_id: record?.allocationId },
          endpoint: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
        },
      ],
      created_at: expect.any(String),
      updated_at: expect.any(String),
    });
    expect(told(plane, "holds/node-a")).toMatchObject({
      allocations: [{ block_id: "echo", state: "committed", orphan: false }],
      leases: [],
    });
    const { body } = await fleet.call("GET", "/operations");
    const [created] = body.data as OperationDocument[];
    const key = `operation/${created?.operation_id}`;
    await until("the operation is told as done", () => told(plane, key)?.state === "done");
    expect(told(plane, key)).toEqual(created);
    await fleet.act({ action: "remove_block", block_id: "echo" });
    await until("the block is gone", () => told(plane, "block/echo") === undefined);
    await until("nothing is held", () => told(plane, "holds/node-a") === undefined);
    expect(entriesOf(plane, "block/echo").at(-1)).toMatchObject({ deleted: true, json: "" });
    const revisions = entriesOf(plane, "block/echo").map(({ revision }) => revision);
    expect(revisions).toEqual(revisions.toSorted((a, b) => Number(a - b)));
    expect(new Set(revisions).size).toBe(revisions.length);
  });

  it("tells a ledger's revision behind all that it means, also the cluster document", async () => {
    const { plane, fleet } = await linked();
    for (const slot of [0, 1, 2, 3]) {
      await lease(fleet, `l${slot}`, slot);
      const revision = String(fleet.blocks.ledger.status.revision);
      const hasRevision = () =>
        entriesOf(plane, "ledger").some(({ json }) => {
          return (JSON.parse(json) as LedgerDocument).revision === revision;
        });
      await until(`revision ${revision} is told`, hasRevision);
      const gpus = told(plane, "cluster").nodes.nodeData[0].gpus.gpus;
      expect(gpus[slot].state).toBe("leased");
      expect(told(plane, "holds/node-a").leases).toHaveLength(slot + 1);
    }
  });

  it("is not told anew while nothing changes, though time passes for leases", async () => {
    const { plane, fleet } = await linked();
    await lease(fleet, "l0", 0);
    await until("the lease is told", () => told(plane, "holds/node-a") !== undefined);
    const before = entriesOf(plane, "holds/node-a").length;
    const reports = plane.reports.length;
    await until("time passes", () => plane.reports.length >= reports + 20);
    expect(entriesOf(plane, "holds/node-a")).toHaveLength(before);
    await fleet.call("DELETE", "/leases/l0");
    await until("it is gone", () => told(plane, "holds/node-a") === undefined);
  });
});
