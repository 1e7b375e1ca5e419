import { KeyedDocuments, ScrapeRegistry } from "@berth/service-kit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TelemetryDelta, telemetryEntries } from "../link/telemetry-entries.ts";
import { aggregateMetrics } from "../telemetry/aggregate-metrics.ts";
import { nodeMetrics } from "../telemetry/node-metrics.ts";
import { nodeStatus } from "../telemetry/node-status.ts";
import { clusterFamilies } from "../telemetry/scrape-families.ts";
import { snapshots } from "../telemetry/scrape-snapshot.ts";
import {
  fingerprint,
  gpuSample,
  healthReport,
  hostSample,
  registerRequest,
} from "../testing/fixtures.ts";
import { registered, testRegistry } from "../testing/registry.ts";
import type { NodeRecord } from "./node-view.ts";

type Opened = Awaited<ReturnType<typeof testRegistry>>;

/** What happens to one of a few nodes. */
interface Step {
  readonly node: string;
  readonly kind: "join" | "remove";
  readonly gpus: readonly string[];
  /** Load of its GPUs, percent. */
  readonly load: number;
  /** XID 79 of its first GPU. */
  readonly isBroken: boolean;
}

const step: fc.Arbitrary<Step> = fc.record({
  node: fc.constantFrom("n1", "n2", "n3"),
  kind: fc.constantFrom("join" as const, "join" as const, "remove" as const),
  gpus: fc.shuffledSubarray(["a", "b", "c"]),
  load: fc.nat(100),
  isBroken: fc.boolean(),
});

const usage = {
  cpuUsage: () => ({ user: 0, system: 0 }),
  memoryUsage: { rss: () => 0 },
  uptime: () => 0,
};
const FORCED = { force: true, forgetKey: async () => true };

async function join({ nodes }: Opened, { node, gpus, load, isBroken }: Step): Promise<void> {
  const uuids = gpus.map((name) => `GPU-${node}-${name}`);
  const print = fingerprint({ machineId: node, gpus: uuids });
  const registration = await registered(
    nodes,
    registerRequest({ nodeId: node, agentInstanceId: `${node}-agent`, fingerprint: print }),
  );
  const [first] = uuids;
  const facts = isBroken && first !== undefined ? [{ gpuUuid: first }] : [];
  await nodes.report(registration, {
    host: hostSample({ cpuUtilizationPercent: load }),
    gpus: uuids.map((uuid) => gpuSample(uuid, { utilizationPercent: load })),
    health: healthReport(...facts),
  });
}

/** Everything that is told or kept of the nodes. */
async function everything({ nodes, clock, store }: Opened) {
  // Has its turn after what is still to be kept.
  await nodes.remove("nobody", FORCED);
  const scraped = new ScrapeRegistry({ program: "test", version: "0", usage });
  scraped.add(
    ...clusterFamilies(
      "c1",
      snapshots(() => nodes.views(), clock),
    ),
  );
  const views = nodes.views();
  const all = new KeyedDocuments<NodeRecord>({
    ...{ store, orgId: "default_org", collection: "nodes" },
  });
  return {
    metrics: views.map(nodeMetrics),
    status: views.map(nodeStatus),
    aggregate: aggregateMetrics(views.map(nodeMetrics)),
    series: (await scraped.text()).split("\n").filter((line) => line.includes('cluster="c1"')),
    records: Object.fromEntries([...(await all.load())].sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}

/** Takes the steps; gives those of the nodes that are there in the end, since each of them joined. */
async function taken(opened: Opened, steps: readonly Step[]): Promise<readonly Step[]> {
  const here = new Map<string, Step[]>();
  for (const one of steps) {
    if (one.kind === "join") {
      await join(opened, one);
      here.getOrInsert(one.node, []).push(one);
    } else if (here.delete(one.node)) {
      await opened.nodes.remove(one.node, FORCED);
    }
  }
  return [...here.values()].flat();
}

describe("the removal of a node", () => {
  it("undoes all that its addition did, whatever happened in between", async () => {
    const run = async (steps: readonly Step[]) => {
      const [opened, fresh] = [await testRegistry(), await testRegistry()];
      await taken(fresh, await taken(opened, steps));
      expect(await everything(opened)).toEqual(await everything(fresh));
      await Promise.all([opened.store.close(), fresh.store.close()]);
    };
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 12 }), run), { numRuns: 40 });
  });

  it("leaves no record behind when something was told of its GPUs while it was removed", async () => {
    const { nodes, store } = await testRegistry();
    const print = fingerprint({ gpus: ["GPU-1"] });
    const registration = await registered(nodes, registerRequest({ fingerprint: print }));
    const removed = nodes.remove("node-a", {
      force: true,
      forgetKey: async () => {
        await nodes.report(registration, { gpus: [], health: healthReport({}) });
        return true;
      },
    });
    await removed;
    // Whoever registers next waits for what was to be kept before.
    await registered(nodes, registerRequest({ nodeId: "node-b" }));
    const { nodes: again } = await testRegistry(store);
    expect(again.views().map(({ id }) => id)).toEqual(["node-b"]);
  });

  it("is told the control-plane as a deletion, and the node anew when it comes back", async () => {
    const { nodes } = await testRegistry();
    const delta = new TelemetryDelta();
    const keys = () =>
      delta
        .next(telemetryEntries(nodes.views(), nodes.version, 0n))
        .map(({ key, deleted }) => (deleted ? `-${key}` : key));
    await registered(nodes, registerRequest());
    expect(keys()).toEqual(["metrics", "node/node-a"]);
    await nodes.remove("node-a", FORCED);
    expect(keys()).toEqual(["metrics", "-node/node-a"]);
    await registered(nodes, registerRequest());
    expect(keys()).toEqual(["metrics", "node/node-a"]);
  });
});
