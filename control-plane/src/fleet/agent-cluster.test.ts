import { EntrySchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { aDocument, aGpu, someMetrics } from "../testing/documents.ts";
import { AgentCluster } from "./agent-cluster.ts";

const entry = (key: string, revision: number, value: unknown) =>
  create(EntrySchema, { key, revision: BigInt(revision), json: JSON.stringify(value) });

function aCluster(): AgentCluster {
  const cluster = new AgentCluster("default_org", "c1");
  cluster.replaceState([entry("cluster", 1, aDocument("c1"))]);
  cluster.apply([entry("metrics", 1, {}), entry("node/node-1", 1, someMetrics())]);
  cluster.setHealth("live");
  return cluster;
}

describe("AgentCluster", () => {
  it("keeps when each node's metrics came, and when the newest were measured", () => {
    const cluster = aCluster();
    const told = (key: string, revision: number, ageMs: number) =>
      create(EntrySchema, {
        ...{ key, revision: BigInt(revision), ageMs },
        json: JSON.stringify(key === "metrics" ? {} : someMetrics({ id: key.slice(5) })),
      });
    cluster.heard(5_000);
    cluster.apply([told("node/node-1", 2, 300), told("node/b", 1, 900)]);
    const before = cluster.view;
    expect(before?.nodesAtMs).toEqual(
      new Map([
        ["b", 5_000],
        ["node-1", 5_000],
      ]),
    );
    expect(before?.reportedAtMs).toBe(4_700);
    cluster.heard(6_000);
    cluster.apply([told("node/b", 2, 5_000), told("node/node-1", 2, 0)]);
    expect(cluster.view?.nodesAtMs.get("b")).toBe(6_000);
    expect(cluster.view?.nodesAtMs.get("node-1")).toBe(5_000);
    expect(cluster.view?.reportedAtMs).toBe(4_700);
    expect(before?.nodesAtMs.get("b")).toBe(5_000);
    cluster.setHealth("unreachable");
    expect(cluster.view?.reportedAtMs).toBe(4_700);
    cluster.forget();
    cluster.replaceState([entry("cluster", 1, aDocument("c1"))]);
    expect(cluster.view).toMatchObject({ reportedAtMs: null, nodesAtMs: new Map() });
  });

  it("lists nodes by id, whatever the order in which they came and went", () => {
    const cluster = aCluster();
    const node = (id: string, revision: number) =>
      entry(`node/${id}`, revision, someMetrics({ id }));
    cluster.apply([node("z", 1), node("a", 1)]);
    cluster.apply([create(EntrySchema, { key: "node/node-1", revision: 2n, deleted: true })]);
    cluster.apply([node("m", 1)]);
    const { metrics, metricsJson, nodes } = cluster.view ?? {};
    expect([...(nodes?.keys() ?? [])]).toEqual(["a", "m", "z"]);
    expect(metrics?.nodes.map(({ id }) => id)).toEqual(["a", "m", "z"]);
    expect(JSON.parse(metricsJson ?? "")).toEqual(metrics);
  });

  it("has no view before its document", () => {
    const cluster = new AgentCluster("default_org", "c1");
    cluster.apply([entry("metrics", 1, {})]);
    expect(cluster.view).toBeUndefined();
  });

  it("shows document, metrics and nodes together", () => {
    const { view } = aCluster();
    expect(view?.document).toEqual(aDocument("c1"));
    expect(JSON.parse(view?.metricsJson ?? "")).toEqual({
      clusterId: "c1",
      cluster: {},
      nodes: [someMetrics()],
      ...{ total_cpu: null, used_cpu: null, total_memory: 32_000, used_memory: 16_000 },
      ...{ total_gpus: 0, gpu_utilization: null, health: "live" },
    });
    expect(view?.nodes.get("node-1")?.status).toBe("healthy");
  });

  it("ignores older revisions and takes newer ones", () => {
    const cluster = aCluster();
    cluster.apply([entry("cluster", 1, aDocument("c1", [aGpu("0")]))]);
    expect(cluster.view?.document.gpus.count).toBe(0);
    cluster.apply([entry("cluster", 2, aDocument("c1", [aGpu("0")]))]);
    expect(cluster.view?.document.gpus.count).toBe(1);
  });

  it("never changes a view that a decision holds", () => {
    const cluster = aCluster();
    const before = cluster.view;
    cluster.apply([entry("node/node-1", 2, someMetrics({ status: "unhealthy" }))]);
    expect(before?.nodes.get("node-1")?.status).toBe("healthy");
    expect(cluster.view?.nodes.get("node-1")?.status).toBe("unhealthy");
  });

  it("forgets a deleted node, and nodes that a new stream does not carry", () => {
    const cluster = aCluster();
    const node = someMetrics({ id: "node-2", node_id: "node-2" });
    cluster.apply([entry("node/node-2", 1, node)]);
    cluster.keepOnly(new Set(["metrics", "node/node-2"]));
    expect([...(cluster.view?.nodes.keys() ?? [])]).toEqual(["node-2"]);
    const deleted = create(EntrySchema, { key: "node/node-2", revision: 2n, deleted: true });
    cluster.apply([deleted]);
    expect(cluster.view?.nodes.size).toBe(0);
  });

  it("counts what it holds, not what has come: replaced and deleted values make room", () => {
    const cluster = aCluster();
    const mebibytes = (n: number) => ({ pad: "x".repeat(n * 1024 * 1024) });
    const big = (revision: number, id: string) =>
      entry(`node/${id}`, revision, someMetrics({ id, node_id: id, network: mebibytes(15) }));
    for (let revision = 2; revision < 8; revision += 1) cluster.apply([big(revision, "node-1")]);
    for (const id of ["a", "b", "c"]) cluster.apply([big(1, id)]);
    expect(() => cluster.apply([big(1, "d")])).toThrow("at most 67108864 characters");
    cluster.apply([create(EntrySchema, { key: "node/a", revision: 2n, deleted: true })]);
    cluster.apply([big(1, "d")]);
    cluster.keepOnly(new Set());
    cluster.apply(["a", "b", "c", "d"].map((id) => big(3, id)));
    expect(cluster.view?.nodes.size).toBe(4);
  });

  it("says in the document that an unreachable cluster is unreachable, and keeps the rest as it was written", () => {
    const text =
      '{"reputation":10.0,"status" : "live","big":12345678901234567890,"x":{"status":1e2}}';
    const json = JSON.stringify(aDocument("c1")).replace(
      /"reputation":100/,
      `"free":${text},${text.slice(1, -1)}`,
    );
    const cluster = new AgentCluster("default_org", "c1");
    cluster.replaceState([create(EntrySchema, { key: "cluster", revision: 1n, json })]);
    cluster.setHealth("live");
    expect(cluster.view?.documentJson).toBe(json);
    cluster.setHealth("unreachable");
    const { document, documentJson = "" } = cluster.view ?? {};
    expect(document?.status).toBe("unreachable");
    expect(JSON.parse(documentJson)).toEqual(document);
    expect(documentJson).toContain(`"free":${text},`);
    expect(documentJson).toContain('"status" : "unreachable","big":12345678901234567890,');
    cluster.setHealth("live");
    expect(cluster.view?.documentJson).toBe(json);
  });

  it.each([
    ["of another kind", "secrets", 'entries.1.key: unknown key "secrets"'],
    ["of no node", "node/", 'entries.1.key: unknown key "node/"'],
    [
      "that is too long",
      `node/${"x".repeat(508)}`,
      "entries.1.key: expected at most 512 characters",
    ],
  ])("refuses the end of a key %s", (_which, key, message) => {
    const cluster = aCluster();
    const before = cluster.view;
    const bad = create(EntrySchema, { key, revision: 9n, deleted: true });
    expect(() => cluster.apply([entry("metrics", 9, { x: 1 }), bad])).toThrow(message);
    expect(cluster.view).toEqual(before);
  });

  it("takes no more entries at once than a cluster has keys", () => {
    const entries = Array.from({ length: 32_003 }, () => entry("metrics", 9, {}));
    expect(() => aCluster().apply(entries)).toThrow("entries: expected at most 32002");
  });

  it("digests its state, so that an agent with the same state sends no snapshot", () => {
    const [a, b] = [aCluster(), aCluster()];
    expect(a.stateDigest).toBe(b.stateDigest);
    b.apply([entry("cluster", 2, aDocument("c1"))]);
    expect(a.stateDigest).not.toBe(b.stateDigest);
  });

  it.each([
    ["another cluster's document", entry("cluster", 9, aDocument("other")), 'id: expected "c1"'],
    [
      "a document without nodes",
      entry("cluster", 9, { id: "c1" }),
      "nodes.nodeData: expected an array",
    ],
    [
      "a node without an id",
      entry("cluster", 9, { id: "c1", nodes: { nodeData: [{}] } }),
      "nodes.nodeData.0.id",
    ],
    [
      "two nodes of one id",
      entry("cluster", 9, { id: "c1", nodes: { nodeData: [{ id: "n" }, { id: "n" }] } }),
      "node n is there twice",
    ],
    [
      "a config of another type",
      entry("cluster", 9, { id: "c1", config: null, nodes: { nodeData: [] } }),
      "config: expected object, got null",
    ],
    ["another node's metrics", entry("node/x", 9, someMetrics()), 'id: expected "x"'],
    [
      "an unknown status",
      entry("node/node-1", 9, { ...someMetrics(), status: "ok" }),
      "status: expected",
    ],
    [
      "a value nested too deeply for policies",
      create(EntrySchema, {
        key: "metrics",
        revision: 9n,
        json: `{"x":${"[".repeat(60)}${"]".repeat(60)}}`,
      }),
      "at most 48 nested levels",
    ],
    [
      "a number that no double holds",
      create(EntrySchema, { key: "metrics", revision: 9n, json: '{"x":{"y":[1e999]}}' }),
      "too large for a double",
    ],
    ["an unknown key", entry("secrets", 9, {}), "unknown key"],
    ["a value that is no object", entry("metrics", 9, []), "expected an object, got array"],
    [
      "a value that is not JSON",
      create(EntrySchema, { key: "metrics", revision: 9n, json: "{" }),
      "not JSON",
    ],
  ])("refuses %s and keeps what it had", (_name, bad, message) => {
    const cluster = aCluster();
    const before = cluster.view;
    expect(() => cluster.apply([bad])).toThrow(message);
    expect(cluster.view).toEqual(before);
  });
});
