import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { AllocatorHarness, SEEN, threeClusters } from "../testing/allocator-harness.ts";

let harness: AllocatorHarness;

beforeAll(async () => {
  harness = new AllocatorHarness();
  await harness.ready();
});

afterAll(() => harness.close());

describe("Allocator", () => {
  it.each<[string, object, string[]]>([
    ["every live cluster", {}, ["c1"]],
    ["the named ones", { clusters: ["c2"] }, ["c2"]],
    [
      "named ones before a filter",
      { clusters: ["c2"], filter: { variable: "id", operator: "==", value: "c1" } },
      ["c2"],
    ],
    [
      "those of a filter",
      { filter: { clusterQuery: { variable: "gpus.count", operator: ">", value: 1 } } },
      ["c1"],
    ],
    [
      "none when the filter finds none",
      { filter: { variable: "id", operator: "==", value: "x" } },
      [],
    ],
  ])("shows the policy %s", async (_name, fields, seen) => {
    const uri = await harness.publish("seen", SEEN);
    expect(await harness.allocate(uri, fields)).toMatchObject({ success: true, data: { seen } });
  });

  it("looks through a filter before the policy's turn has come, and then only at clusters that changed", async () => {
    const uri = await harness.publish("seen", SEEN);
    const looks: string[] = [];
    const watched = (id: string) => {
      const view = threeClusters().get(id);
      if (view === undefined) throw new Error(`there is no ${id}`);
      const document = {
        ...view.document,
        get probe() {
          looks.push(id);
          return 1;
        },
      };
      return { ...view, document };
    };
    const given = [...harness.views];
    harness.views.set("c1", watched("c1")).set("c2", watched("c2"));
    harness.onceAsked = async () => {
      harness.onceAsked = async () => {
        looks.push("the policy's turn");
        harness.views.set("c2", watched("c2"));
      };
    };
    const filter = { variable: "probe", operator: "==", value: 1 };
    expect(await harness.allocate(uri, { filter })).toMatchObject({ data: { seen: ["c1", "c2"] } });
    expect(looks).toEqual(["c1", "c2", "the policy's turn", "c2"]);
    for (const [id, view] of given) harness.views.set(id, view);
  });

  it("names clusters that are unknown or unreachable in warnings", async () => {
    const uri = await harness.publish("seen", SEEN);
    expect(await harness.allocate(uri, { clusters: ["ghost", "gone", "c1"] })).toMatchObject({
      data: { seen: ["c1"] },
      warnings: ["clusters: there is no cluster ghost", "clusters: cluster gone is unreachable"],
    });
  });

  it("warns when a selected cluster has no agent", async () => {
    const uri = await harness.publish("seen", SEEN);
    expect(await harness.allocate(uri, { clusters: ["c2"] })).toMatchObject({
      data: { seen: ["c2"] },
      warnings: ["clusters: cluster c2 has no agent; nothing tells whether it is alive"],
    });
  });

  it("lets a ranking policy choose, and enforces its top K", async () => {
    const uri = await harness.publish("seen", SEEN);
    const ranking = await harness.publish(
      "rank",
      "return sorted(input_data, key=lambda d: d['id'], reverse=True)",
    );
    const search = (parameters: object) => ({
      search: { rankingPolicyRule: { policyRuleURI: ranking, parameters } },
    });
    expect(await harness.allocate(uri, search({}))).toMatchObject({ data: { seen: ["c2", "c1"] } });
    expect(await harness.allocate(uri, search({ return: 1 }))).toMatchObject({
      data: { seen: ["c2"] },
    });
  });

  it("lets a ranking bring back only what its filter found", async () => {
    const uri = await harness.publish("seen", SEEN);
    const ranking = await harness.publish("rank-more", 'return ["ghost", "gone", "c2", "c1"]');
    const filterRule = {
      filter: { clusterQuery: { variable: "id", operator: "==", value: "c1" } },
    };
    const stranger = (id: string) =>
      `search: the ranking policy returned ${id}, which its filter did not find`;
    const search = (parameters: object) => ({
      search: { rankingPolicyRule: { policyRuleURI: ranking, parameters } },
    });
    expect(await harness.allocate(uri, search({ filterRule, return: 1 }))).toMatchObject({
      data: { seen: ["c1"] },
      warnings: ["ghost", "gone", "c2"].map(stranger),
    });
    const record = harness.records.at(-1);
    expect(record?.candidates).toEqual(["c1"]);
    expect(record?.dropped.map(({ id }) => id)).toEqual(["c2", "gone"]);
    expect(await harness.allocate(uri, search({ return: 1 }))).toMatchObject({
      data: { seen: ["c2"] },
      warnings: expect.arrayContaining(["ghost", "gone"].map(stranger)),
    });
  });

  it.each([
    ['"inputs":{"a":[1,1e400]}', /^inputs\.a\[1\]: the number 1e400 does not fit a double$/],
    ['"settings":{"a":{"b":-1e999}}', /^settings\.a\.b: the number -1e999 does not fit a double$/],
    [
      `"inputs":{"a":${"[".repeat(63)}${"]".repeat(63)}}`,
      /^inputs\.a(\[0\])+…?: nested deeper than 63 levels$/,
    ],
    [
      `"parameters":{"a":${"[".repeat(64)}${"]".repeat(64)}}`,
      /^parameters\.a(\[0\])+…?: nested deeper than 64 levels$/,
    ],
  ])("names the field that no policy can be given in %s", async (fields, message) => {
    const uri = await harness.publish("seen", SEEN);
    await expect(harness.allocate(uri, fields)).rejects.toMatchObject({
      reason: "INVALID_ARGUMENT",
      message: expect.stringMatching(message),
    });
  });

  it("takes an empty list of a policy that was asked for one placement as none", async () => {
    const uri = await harness.publish("empty-list", "return []");
    expect(await harness.allocate(uri)).toMatchObject({
      data: { cluster_id: null, unschedulable: true, reasons: [expect.any(String)] },
    });
    expect(await harness.allocate(uri, '"inputs":{"requests":[]}')).toMatchObject({ data: [] });
  });

  it("repeats no more than the beginning of a policy's name that nobody knows", async () => {
    const unknown = harness.allocate("x".repeat(100_000));
    await expect(unknown).rejects.toThrow(`'${"x".repeat(200)}…' not found.`);
  });

  it("names what is wrong with a ranking", async () => {
    const uri = await harness.publish("seen", SEEN);
    const bad = await harness.publish("rank-bad", "return [1]");
    const search = { rankingPolicyRule: { policyRuleURI: bad } };
    await expect(harness.allocate(uri, { search })).rejects.toThrow(
      "result[0]: expected a document with an id, got number",
    );
    const unknown = { rankingPolicyRule: { policyRuleURI: "nope:1-t" } };
    await expect(harness.allocate(uri, { search: unknown })).rejects.toThrow(
      "'nope:1-t' not found",
    );
  });

  it("overlays the request's parameters on the policy's defaults, number by number", async () => {
    const body =
      'return {"cluster_id": None, "text": repr(parameters), "same": parameters is self.parameters}';
    const uri = await harness.publish(
      "defaults",
      body,
      '{"a":1.0,"b":{"c":1,"d":2},"e":9007199254740993}',
    );
    expect(await harness.allocate(uri, '"parameters":{"b":{"c":10.0}}')).toMatchObject({
      data: { text: "{'a': 1.0, 'b': {'c': 10.0, 'd': 2}, 'e': 9007199254740993}", same: true },
    });
  });

  it("gives policies the registry and the metrics as synchronous clients", async () => {
    const uri = await harness.publish(
      "clients",
      `clusters = self.settings["cluster_client"]
metrics = self.settings["cluster_metrics_client"]
ok, document = clusters.read_cluster("c1")
missing, why = clusters.read_cluster("nope")
found, matching = clusters.execute_query({"gpus.count": {"$gte": 2}})
try:
    metrics.get_cluster("nope")
    raised = None
except Exception as error:
    raised = type(error).__name__ + ": " + str(error)
return {"cluster_id": None, "ok": [ok, document["id"]], "missing": [missing, why], "raised": raised,
        "matching": [c["id"] for c in matching], "metrics": metrics.get_cluster("c1")["clusterId"]}`,
    );
    expect(await harness.allocate(uri)).toMatchObject({
      data: {
        ok: [true, "c1"],
        missing: [false, expect.stringContaining("404")],
        matching: ["c1"],
        metrics: "c1",
        raised: expect.stringContaining("cluster not found: nope"),
      },
    });
  });

  it("shows the totals in the input and through the client, the same in both, and finds by them", async () => {
    const uri = await harness.publish(
      "totals",
      `metrics = self.settings["cluster_metrics_client"]
given = input_data["cluster_data"]["c1"]["cluster_metrics"]
found = metrics.query_clusters({"used_memory": {"$gte": 16000}, "clusterId": "c1"})
nested = metrics.query_clusters({"nodes.memory.usedMem": {"$gt": 16000}})
totals = {key: given[key] for key in ("total_cpu", "used_cpu", "total_memory", "used_memory",
                                      "total_gpus", "gpu_utilization", "health")}
return {"cluster_id": None, "same": [given == metrics.get_cluster("c1"), [given] == found],
        "nested": nested, "totals": totals}`,
    );
    const filter = {
      clusterMetricsQuery: { variable: "used_memory", operator: ">=", value: 16e3 },
    };
    expect(await harness.allocate(uri, { filter })).toMatchObject({
      data: {
        same: [true, true],
        nested: [],
        totals: {
          ...{ total_cpu: null, used_cpu: null, total_memory: 32_000, used_memory: 16_000 },
          ...{ total_gpus: 0, gpu_utilization: null, health: "live" },
        },
      },
    });
  });

  it("checks what the policy returns", async () => {
    const uri = await harness.publish(
      "wrong-gpu",
      'return {"cluster_id": "c1", "node_id": "node-1", "gpus": [5]}',
    );
    await expect(harness.allocate(uri)).rejects.toThrow("node c1/node-1 has no GPU 5");
    const right = await harness.publish(
      "right-gpu",
      'return {"cluster_id": "c1", "node_id": "node-1", "gpus": [1]}',
    );
    expect(await harness.allocate(right)).toEqual({
      success: true,
      data: { cluster_id: "c1", node_id: "node-1", gpus: ["1"] },
      decision_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
  });

  it("tells where a policy failed", async () => {
    const uri = await harness.publish("fails", 'x = {}\nreturn x["a"]');
    await expect(harness.allocate(uri)).rejects.toMatchObject({
      reason: "POLICY_FAILED",
      message: expect.stringContaining("raised KeyError: 'a' (function.py:7)"),
    });
  });
});

const FIRST_FREE = `node = input_data["cluster_data"]["c1"]["data"]["nodes"]["nodeData"][0]
free = [gpu["id"] for gpu in node["gpus"]["gpus"] if gpu["state"] == "free"]
if not free:
    return {"cluster_id": None, "reasons": ["c1 has %d free GPUs" % node["free_gpus"]]}
return {"cluster_id": "c1", "node_id": "node-1", "gpus": free[:1]}`;

describe("assumed placements", () => {
  it("gives callers at the same moment different GPUs, and then none", async () => {
    const uri = await harness.publish("first-free", FIRST_FREE);
    const answers = await Promise.all(
      [1, 2, 3].map(
        () => harness.allocate(uri, { assume_seconds: 0.5 }) as Promise<{ data: object }>,
      ),
    );
    const data = answers.map((answer) => answer.data);
    expect(data).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ gpus: ["0"] }),
        expect.objectContaining({ gpus: ["1"] }),
        expect.objectContaining({ unschedulable: true, reasons: ["c1 has 0 free GPUs"] }),
      ]),
    );
    await vi.waitFor(
      async () => expect(await harness.allocate(uri)).toMatchObject({ data: { gpus: ["0"] } }),
      5_000,
    );
  });

  it("assumes nothing for 0 seconds, and says why nothing is held", async () => {
    const uri = await harness.publish("first-free", FIRST_FREE);
    for (const _ of [1, 2]) {
      expect(await harness.allocate(uri, { hold: { ttl_ms: 1_000 } })).toMatchObject({
        data: { gpus: ["0"] },
        held: false,
        hold_refused: expect.stringContaining("cluster c1 has no agent"),
        warnings: [expect.stringContaining("hold: ")],
      });
    }
  });

  it("says nothing of a hold when there is nothing to be held", async () => {
    const uri = await harness.publish("seen", SEEN);
    const answer = await harness.allocate(uri, { hold: true });
    expect(answer).toMatchObject({ data: { unschedulable: true }, held: false });
    expect(answer).not.toHaveProperty("warnings");
  });

  it("warns of a policy that gives a GPU to two callers because it does not look at states", async () => {
    const always = 'return {"cluster_id": "c1", "node_id": "node-1", "gpus": [1]}';
    const uri = await harness.publish("always-the-same", always);
    const first = await harness.allocate(uri, { assume_seconds: 60 });
    expect(first).not.toHaveProperty("warnings");
    const warnings = ["GPU 1 of node node-1 in cluster c1 is leased"];
    expect(await harness.allocate(uri)).toMatchObject({ data: { gpus: ["1"] }, warnings });
    expect(harness.records.at(-1)).toMatchObject({ outcome: "placed", warnings });
  });
});
