import { parseLossless } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { fingerprint, registerRequest } from "../testing/fixtures.ts";
import { registered, testRegistry } from "../testing/registry.ts";
import { openCluster } from "./cluster.ts";
import { defaultDeclaredCluster } from "./declared-cluster.ts";

async function testCluster() {
  const registry = await testRegistry();
  const about = { clusterId: "c1", regionId: "eu", tags: ["a"] };
  const options = {
    clusterId: "c1",
    orgId: "default_org",
    store: registry.store,
    nodes: registry.nodes,
    defaults: defaultDeclaredCluster(about),
    baseUrl: () => "http://127.0.0.1:32000",
  };
  return { ...registry, options, cluster: await openCluster(options) };
}

describe("Cluster", () => {
  it("is an empty live document before any node joins", async () => {
    const { cluster } = await testCluster();
    expect(cluster.document()).toEqual({
      id: "c1",
      regionId: "eu",
      status: "live",
      nodes: { count: 0, nodeData: [] },
      gpus: { count: 0, memory: 0 },
      vcpus: { count: 0 },
      memory: 0,
      swap: 0,
      storage: { disks: 0, size: 0 },
      network: { interfaces: 0, txBandwidth: 0, rxBandwidth: 0 },
      config: {
        publicHostname: "127.0.0.1",
        useGateway: true,
        policyExecutionMode: "local",
        policyExecutorId: "",
        customPolicySystem: {},
        actionsPolicyMap: {},
        urlMap: {
          controllerService: "http://127.0.0.1:32000/controller",
          metricsService: "http://127.0.0.1:32000/metrics",
          blocksQuery: "http://127.0.0.1:32000/blocks",
          publicGateway: "http://127.0.0.1:32000",
          parameterUpdater: "http://127.0.0.1:32000/mgmt",
        },
      },
      tags: ["a"],
      clusterMetadata: { name: "c1", description: "", owner: "" },
      reputation: 100,
    });
  });

  it("sums over its nodes, silent ones too", async () => {
    const { cluster, nodes, clock } = await testCluster();
    const print = (machineId: string, gpus: string[]) => fingerprint({ machineId, gpus });
    await registered(nodes, registerRequest({ nodeId: "n1", fingerprint: print("m1", ["G1"]) }));
    clock.advance(20_000);
    await registered(
      nodes,
      registerRequest({ nodeId: "n2", fingerprint: print("m2", ["G2", "G3"]) }),
    );
    expect(cluster.document()).toMatchObject({
      nodes: {
        count: 2,
        nodeData: [
          { id: "n1", free_gpus: 0 },
          { id: "n2", free_gpus: 2 },
        ],
      },
      gpus: { count: 3, memory: 245_760 },
      vcpus: { count: 32 },
      memory: 128_000,
      storage: { disks: 2, size: 200_000 },
      network: { interfaces: 4, txBandwidth: 20_000, rxBandwidth: 20_000 },
    });
  });

  it("keeps updates over a restart and ignores later defaults", async () => {
    const { cluster, options } = await testCluster();
    const updated = await cluster.update({ regionId: "us" });
    expect(updated.regionId).toBe("us");
    await cluster.update({ $push: { tags: "b" } });
    const again = await openCluster({ ...options, defaults: { ...options.defaults, tags: [] } });
    expect(again.document()).toMatchObject({ regionId: "us", tags: ["a", "b"] });
  });

  it("keeps numbers as they were written, over restarts and later updates", async () => {
    const { cluster, options } = await testCluster();
    const numbers = '{"big":12345678901234567890,"ratio":1.50,"exact":0.1000000000000000055}';
    await cluster.update(parseLossless(`{"clusterMetadata":${numbers}}`));
    const again = await openCluster(options);
    await again.update({ $push: { tags: "b" }, $inc: { reputation: -1 } });
    for (const opened of [again, await openCluster(options)]) {
      const text = JSON.stringify(opened.document());
      expect(text).toContain(`"clusterMetadata":${numbers}`);
      expect(text).toContain('"reputation":99');
    }
  });

  it("takes up what an older version has stored, which was no text", async () => {
    const { options, store } = await testCluster();
    const body = { ...options.defaults, regionId: "us" };
    const key = { orgId: "default_org", collection: "declared_clusters", id: "c1" };
    await store.apply([{ kind: "insert", key, body }]);
    const cluster = await openCluster(options);
    expect(cluster.document().regionId).toBe("us");
    await cluster.update({ tags: ["z"] });
    expect((await openCluster(options)).document()).toMatchObject({ regionId: "us", tags: ["z"] });
  });

  it("loses none of many updates at the same time", async () => {
    const { cluster } = await testCluster();
    const tags = Array.from({ length: 20 }, (_, index) => `t${index}`);
    await Promise.all(tags.map((tag) => cluster.update({ $push: { tags: tag } })));
    expect(cluster.document().tags).toEqual(["a", ...tags]);
  });

  it("changes its document version by an update and by a node, not by a refused update", async () => {
    const { cluster, nodes } = await testCluster();
    const first = cluster.documentVersion;
    await expect(cluster.update({ id: "x" })).rejects.toThrow("$set.id");
    expect(cluster.documentVersion).toBe(first);
    await cluster.update({ tags: [] });
    const second = cluster.documentVersion;
    expect(second).not.toBe(first);
    await registered(nodes, registerRequest());
    expect(cluster.documentVersion).not.toBe(second);
  });
});
