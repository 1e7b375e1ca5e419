import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createSandbox, type Sandbox } from "@berth/policy-sandbox";
import { openSqliteDocumentStore, silentLogger, systemClock } from "@berth/service-kit";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { PolicyContexts } from "../policies/policy-contexts.ts";
import { PolicyRegistry } from "../policies/policy-registry.ts";
import { aGpu, aView } from "../testing/documents.ts";
import { readFrame } from "./allocation-request.ts";
import { Allocator } from "./allocator.ts";
import { Assumptions } from "./assumptions.ts";
import type { DecisionRecord } from "./decisions/decision-record.ts";
import { ResidentCatalog } from "./resident-catalog.ts";

const ORG = "default_org";
const CAPS = { wallMs: 30_000, cpuMs: 20_000, memoryMiB: 256 };
const principal = { orgId: ORG, role: "admin" } as const;
const views: ReadonlyMap<string, ClusterView> = new Map([
  ["c1", aView("c1", { gpus: [aGpu("0"), aGpu("1")] })],
  ["c2", aView("c2", { health: "unknown" })],
  ["gone", aView("gone", { health: "unreachable" })],
]);

let directory: string;
let sandbox: Sandbox;
let policies: PolicyRegistry;
let contexts: PolicyContexts;
let reopenContexts: () => PolicyContexts;
let allocator: Allocator;
let records: DecisionRecord[];
let closeStore: () => Promise<void>;

beforeAll(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-allocator-"));
  const store = openSqliteDocumentStore(path.join(directory, "cp.db"), systemClock);
  closeStore = () => store.close();
  sandbox = createSandbox({ stateDir: path.join(directory, "sandbox") });
  policies = new PolicyRegistry({ store, sandbox });
  const clusters = { snapshot: async () => ({ revision: 42, clusters: views }) };
  records = [];
  contexts = new PolicyContexts({ store, logger: silentLogger });
  reopenContexts = () => new PolicyContexts({ store, logger: silentLogger });
  allocator = new Allocator({
    ...{ clusters, policies, contexts, sandbox, assumeSeconds: 0, caps: CAPS },
    residents: new ResidentCatalog(),
    assumptions: new Assumptions(systemClock),
    decisions: { record: (_orgId, record) => void records.push(record) },
  });
  await sandbox.ready();
});

afterAll(async () => {
  await sandbox.close();
  await closeStore();
  rmSync(directory, { recursive: true });
});

/** Publishes a policy whose eval has this body, and gives its URI. */
async function publish(name: string, body: string, defaults = "{}"): Promise<string> {
  const indented = body.replaceAll("\n", "\n        ");
  const source = `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        self.settings = settings
        self.parameters = parameters
    def eval(self, parameters, input_data, context):
        ${indented}
`;
  const text = `{"name":${JSON.stringify(name)},"version":"1","release_tag":"t","policy_parameters":${defaults},"code":${JSON.stringify(source)}}`;
  await policies.publish(ORG, JSON.parse(text), text);
  return `${name}:1-t`;
}

async function allocate(uri: string, fields: object | string = {}): Promise<unknown> {
  const extra = typeof fields === "string" ? fields : JSON.stringify(fields).slice(1, -1);
  const text = `{"policy_rule_uri":"${uri}","inputs":{}${extra === "" ? "" : `,${extra}`}}`;
  const never = new AbortController().signal;
  return JSON.parse(JSON.stringify(await allocator.allocate(principal, readFrame(text), never)));
}

const SEEN = 'return {"cluster_id": None, "seen": list(input_data["cluster_data"])}';

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
    const uri = await publish("seen", SEEN);
    expect(await allocate(uri, fields)).toMatchObject({ success: true, data: { seen } });
  });

  it("names clusters that are unknown or unreachable in warnings", async () => {
    const uri = await publish("seen", SEEN);
    expect(await allocate(uri, { clusters: ["ghost", "gone", "c1"] })).toMatchObject({
      data: { seen: ["c1"] },
      warnings: ["clusters: there is no cluster ghost", "clusters: cluster gone is unreachable"],
    });
  });

  it("warns when a selected cluster has no agent", async () => {
    const uri = await publish("seen", SEEN);
    expect(await allocate(uri, { clusters: ["c2"] })).toMatchObject({
      data: { seen: ["c2"] },
      warnings: ["clusters: cluster c2 has no agent; nothing tells whether it is alive"],
    });
  });

  it("lets a ranking policy choose, and enforces its top K", async () => {
    const uri = await publish("seen", SEEN);
    const ranking = await publish(
      "rank",
      "return sorted(input_data, key=lambda d: d['id'], reverse=True)",
    );
    const search = (parameters: object) => ({
      search: { rankingPolicyRule: { policyRuleURI: ranking, parameters } },
    });
    expect(await allocate(uri, search({}))).toMatchObject({ data: { seen: ["c2", "c1"] } });
    expect(await allocate(uri, search({ return: 1 }))).toMatchObject({ data: { seen: ["c2"] } });
  });

  it("names what is wrong with a ranking", async () => {
    const uri = await publish("seen", SEEN);
    const bad = await publish("rank-bad", "return [1]");
    const search = { rankingPolicyRule: { policyRuleURI: bad } };
    await expect(allocate(uri, { search })).rejects.toThrow(
      "result[0]: expected a document with an id, got number",
    );
    const unknown = { rankingPolicyRule: { policyRuleURI: "nope:1-t" } };
    await expect(allocate(uri, { search: unknown })).rejects.toThrow("'nope:1-t' not found");
  });

  it("overlays the request's parameters on the policy's defaults, number by number", async () => {
    const body =
      'return {"cluster_id": None, "text": repr(parameters), "same": parameters is self.parameters}';
    const uri = await publish("defaults", body, '{"a":1.0,"b":{"c":1,"d":2},"e":9007199254740993}');
    expect(await allocate(uri, '"parameters":{"b":{"c":10.0}}')).toMatchObject({
      data: { text: "{'a': 1.0, 'b': {'c': 10.0, 'd': 2}, 'e': 9007199254740993}", same: true },
    });
  });

  it("gives policies the registry and the metrics as synchronous clients", async () => {
    const uri = await publish(
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
    expect(await allocate(uri)).toMatchObject({
      data: {
        ok: [true, "c1"],
        missing: [false, expect.stringContaining("404")],
        matching: ["c1"],
        metrics: "c1",
        raised: expect.stringContaining("cluster not found: nope"),
      },
    });
  });

  it("keeps a policy's context from one evaluation to the next, durably", async () => {
    const body =
      'context["n"] = context.get("n", 0) + 1\nreturn {"cluster_id": None, "n": context["n"]}';
    const uri = await publish("counts", body);
    for (const n of [1, 2, 3]) expect(await allocate(uri)).toMatchObject({ data: { n } });
    await contexts.flush();
    expect(await reopenContexts().get(ORG, uri)).toBe('{"n": 3}');
  });

  it("checks what the policy returns", async () => {
    const uri = await publish(
      "wrong-gpu",
      'return {"cluster_id": "c1", "node_id": "node-1", "gpus": [5]}',
    );
    await expect(allocate(uri)).rejects.toThrow("node c1/node-1 has no GPU 5");
    const right = await publish(
      "right-gpu",
      'return {"cluster_id": "c1", "node_id": "node-1", "gpus": [1]}',
    );
    expect(await allocate(right)).toEqual({
      success: true,
      data: { cluster_id: "c1", node_id: "node-1", gpus: ["1"] },
      decision_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
  });

  it("tells where a policy failed", async () => {
    const uri = await publish("fails", 'x = {}\nreturn x["a"]');
    await expect(allocate(uri)).rejects.toMatchObject({
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
    const uri = await publish("first-free", FIRST_FREE);
    const answers = await Promise.all(
      [1, 2, 3].map(() => allocate(uri, { assume_seconds: 0.5 }) as Promise<{ data: object }>),
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
      async () => expect(await allocate(uri)).toMatchObject({ data: { gpus: ["0"] } }),
      5_000,
    );
  });

  it("assumes nothing for 0 seconds, and says that nothing is held", async () => {
    const uri = await publish("first-free", FIRST_FREE);
    for (const _ of [1, 2]) {
      expect(await allocate(uri, { hold: { ttl_ms: 1_000 } })).toMatchObject({
        data: { gpus: ["0"] },
        held: false,
        warnings: [expect.stringContaining("hold: ")],
      });
    }
  });
});

describe("decision records", () => {
  it("say what was asked, what the policy saw and what it said", async () => {
    const uri = await publish("logs", 'print("hello")\nreturn {"cluster_id": "c1"}');
    const answer = await allocate(uri, { clusters: ["c1", "ghost"] });
    const record = records.at(-1);
    expect(record).toMatchObject({
      decision_id: (answer as { decision_id: string }).decision_id,
      outcome: "placed",
      policy_rule_uri: uri,
      policy_digest: (await policies.get(ORG, uri)).digest,
      inputs_digest: createHash("sha256").update("{}").digest("hex"),
      selection: "ids",
      inventory_revision: 42,
      candidates: ["c1"],
      dropped: [{ id: "ghost", reason: "there is no such cluster" }],
      data: { cluster_id: "c1" },
      error: null,
      attempts: 1,
      policy_log: "hello\n",
    });
    expect(record?.timings_ms.total).toBeGreaterThan(0);
  });

  it("say why clusters were no candidates", async () => {
    const uri = await publish("seen", SEEN);
    await allocate(uri);
    expect(records.at(-1)?.dropped).toEqual([
      { id: "c2", reason: "no agent; select it to have it considered" },
      { id: "gone", reason: "unreachable" },
    ]);
    await allocate(uri, { filter: { variable: "id", operator: "==", value: "c1" } });
    expect(records.at(-1)?.dropped).toEqual([
      { id: "c2", reason: "the filter does not match" },
      { id: "gone", reason: "unreachable" },
    ]);
  });

  it.each([
    ["POLICY_FAILED", "raises", "raise ValueError('no')"],
    ["POLICY_FAILED", "wrong", 'return {"cluster_id": "nope"}'],
    ["NOT_FOUND", "", ""],
  ])("keep a failure as %s, and the error names them", async (reason, name, body) => {
    const uri = name === "" ? "no-such:1-t" : await publish(name, body);
    const error = await allocate(uri).catch((thrown: unknown) => thrown);
    const record = records.at(-1);
    expect(record).toMatchObject({ outcome: "failed", data: null, error: { reason } });
    expect(error).toMatchObject({ reason, details: { decision_id: record?.decision_id } });
  });
});

describe("PolicyRegistry", () => {
  it("never changes a published version", async () => {
    await publish("fixed", "return None");
    await publish("fixed", "return None");
    await expect(publish("fixed", "return {}")).rejects.toThrow("publish a new version");
    await expect(publish("fixed", "return None", '{"a":1}')).rejects.toThrow(
      "publish a new version",
    );
  });

  it.each<[object, string]>([
    [{ code: "class A: pass" }, "AIOSv1PolicyRule"],
    [{ code: "class AIOSv1PolicyRule:\n    def eval(:" }, "code/function.py:2"],
    [{ files: { "code/other.py": "x = 1" } }, "code/function.py"],
    [{ files: { "../x.py": "" } }, 'files: "../x.py" is not a path below code/'],
    [{ archive: "bm90IGFuIGFyY2hpdmU=" }, "archive: "],
    [{ archive: "%%%" }, "archive: expected base64"],
    [{}, "expected exactly one of files, archive, code; got none"],
    [{ code: "import x", archive: "aaaa" }, "got archive and code"],
    [{ code: "hello" }, "code: expected Python source"],
    [{ code: "http://169.254.169.254/x.zip" }, "its address is link-local"],
    [{ code: "http://127.0.0.1:1/x.zip" }, "code: cannot fetch http://127.0.0.1:1/x.zip"],
    [{ code: "import x", name: "a b" }, "name: "],
  ])("refuses %j and says why", async (fields, message) => {
    const body = { name: "bad", version: "1", release_tag: "t", ...fields };
    await expect(policies.publish(ORG, body, JSON.stringify(body))).rejects.toThrow(message);
  });

  it("changes and removes, but never the code", async () => {
    const uri = await publish("mutable", "return None");
    await policies.change(ORG, uri, { $set: { description: "d", tags: ["a", "b"] } });
    expect(await policies.get(ORG, uri)).toMatchObject({ description: "d", tags: "a,b" });
    await expect(policies.change(ORG, uri, { code: "x" })).rejects.toThrow("code: unknown field");
    const found = await policies.query(ORG, { tags: { $regex: "^a" } });
    expect(found.map((record) => record.policy_rule_uri)).toEqual([uri]);
    await policies.remove(ORG, uri);
    await expect(policies.get(ORG, uri)).rejects.toThrow("not found");
    await expect(policies.remove(ORG, uri)).rejects.toThrow("not found");
  });
});
