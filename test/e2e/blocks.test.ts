import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Fleet, startFleet } from "../support/fleet.ts";

const NODE = hostname().toLowerCase();
const SERVER = path.resolve(import.meta.dirname, "../../examples/blocks/echo/server.js");
const COMPONENT = { containerRegistryInfo: { command: [process.execPath, SERVER] } };
const ALLOCATOR = "alloc.first-node:1.0.0-stable";
/** Places on the first healthy node; its score is what the block's parameters say. */
const ALLOCATOR_SOURCE = `
class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        self.parameters = parameters

    def eval(self, parameters, input_data, context):
        payload = input_data["payload"]
        nodes = payload["healthy_nodes"]
        assert payload["block"]["id"] and payload["cluster"]["id"] and "extra_data" in payload
        assert parameters.get("action", input_data["action"]) == input_data["action"] == payload["action"]
        if input_data["action"] == "dry_run":
            return {"selection_score_data": {"score": parameters["score"], "node_info": {"node_id": nodes[0]}}}
        if parameters.get("full"):
            return {"node_id": None, "reasons": ["the policy says that it is full"]}
        return {"node_id": nodes[0], "gpus": []}
`;

let fleet: Fleet;
let cluster: string;

beforeAll(async () => {
  fleet = await startFleet();
  cluster = `http://127.0.0.1:${fleet.ports.cluster}`;
  const published = await post(`http://127.0.0.1:${fleet.ports.http}/policy`, {
    ...{ name: "alloc.first-node", version: "1.0.0", release_tag: "stable" },
    files: { "code/function.py": ALLOCATOR_SOURCE },
  });
  expect(published.body).toMatchObject({ data: { policy_rule_uri: ALLOCATOR } });
});

afterAll(async () => {
  // Instances outlive their fleet.
  const { body } = await get("/blocks").catch(() => ({ body: { data: [] } }));
  for (const { id } of body.data) await act({ action: "remove_block", block_id: id });
  await fleet.stop();
});

interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look at any field of any answer
  readonly body: any;
}

async function post(url: string, body: object): Promise<Answer> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: await response.json() };
}

async function get(url: string): Promise<Answer> {
  const response = await fetch(`${cluster}${url}`);
  return { status: response.status, body: await response.json() };
}

const act = (fields: object) => post(`${cluster}/executeAction`, fields);

const block = (id: string, parameters?: object) => ({
  ...{ id, component: COMPONENT, resources: { cpuMillis: 10, memoryMiB: 16 } },
  ...(parameters === undefined
    ? {}
    : { policies: { resourceAllocator: { policyRuleURI: ALLOCATOR, parameters } } }),
});

const podsOf = async (id: string): Promise<string[]> => {
  const { body } = await get(`/blocks/${id}`);
  return body.data.instances.map((one: { pod_name?: string }) => one.pod_name).sort();
};

/** One that has ended and that nobody has asked for its end yet has no command line. */
function isRunning(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8") !== "";
  } catch {
    return false;
  }
}

const isOpen = async () => {
  const answer = await get("/ledger").catch(() => undefined);
  return answer?.body.data.state === "open";
};

/** A block in which somebody else's software runs; its policy holds only if it is asked for that action. */
function thirdParty(id: string, componentMode: string, action: string, more: object = {}): object {
  const { containerRegistryInfo } = COMPONENT;
  const component = { containerRegistryInfo: { ...containerRegistryInfo, componentMode, ...more } };
  return { ...block(id, { action }), component };
}

describe("blocks of a fleet of one machine", () => {
  it.each(["third_party", "third-party"])(
    "of component mode %s are placed by what their policy says to third_party_allocate",
    async (mode) => {
      const block_data = thirdParty("other", mode, "third_party_allocate");
      expect(await act({ action: "create_block", block_data })).toMatchObject({ status: 200 });
      expect(await podsOf("other")).toHaveLength(1);
      expect(await act({ action: "remove_block", block_id: "other" })).toMatchObject({
        status: 200,
      });
      const asked = thirdParty("other", "aios", "third_party_allocate");
      expect(await act({ action: "create_block", block_data: asked })).toMatchObject({
        ...{ status: 400, body: { reason: "POLICY_FAILED" } },
      });
      for (const initContainer of [{ image: "init:1" }, { containerImage: "init:1" }]) {
        const later = thirdParty("other", mode, "third_party_allocate", { initContainer });
        expect(await act({ action: "create_block", block_data: later })).toMatchObject({
          ...{ status: 501, body: { reason: "UNIMPLEMENTED" } },
        });
      }
    },
  );

  it("are placed by their policy, which the cluster has from the control-plane", async () => {
    const dry = await act({ action: "dry_run", block_data: block("echo", { score: 0.75 }) });
    expect(dry).toEqual({
      status: 200,
      body: {
        success: true,
        data: { selection_score_data: { score: 0.75, node_info: { node_id: NODE } } },
      },
    });
    expect(await act({ action: "create_block", block_data: block("echo", {}) })).toMatchObject({
      status: 200,
      body: { data: "Action performed" },
    });
    const full = await act({ action: "create_block", block_data: block("full", { full: true }) });
    expect(full).toMatchObject({ status: 409, body: { reason: "CONFLICT", unschedulable: true } });
    expect(full.body.message).toContain("the policy says that it is full");
    const missing = { ...block("m"), policies: { resourceAllocator: "none.such:1-s" } };
    const refused = await act({ action: "create_block", block_data: missing });
    expect(refused).toMatchObject({ status: 404, body: { reason: "NOT_FOUND" } });
    expect((await get("/blocks")).body.data).toHaveLength(1);
  });

  it("run on when every program of the fleet is killed, and are found again", async () => {
    await expect.poll(() => podsOf("echo"), { timeout: 10_000 }).toEqual([expect.any(String)]);
    const before = await podsOf("echo");
    for (const program of ["cluster-agent", "control-plane", "node-agent"] as const) {
      process.kill(fleet.pidOf(program), "SIGKILL");
    }
    await expect.poll(isOpen, { timeout: 60_000, interval: 250 }).toBe(true);
    await expect.poll(() => podsOf("echo"), { timeout: 10_000 }).toEqual(before);
    const { body } = await get("/allocations");
    expect(body.data).toMatchObject([{ block_id: "echo", node_id: NODE, orphan: false }]);
  });

  it("go on being placed by policies that the cluster knows while the control-plane is away", async () => {
    const plane = fleet.pidOf("control-plane");
    process.kill(plane, "SIGSTOP");
    try {
      const scale = { action: "scale", operation: "scale", block_id: "echo", instances_count: 1 };
      expect(await act(scale)).toMatchObject({ status: 200, body: { data: "scaled instances" } });
    } finally {
      process.kill(plane, "SIGCONT");
    }
    expect((await get("/allocations")).body.data).toHaveLength(2);
  });

  it("are gone when they are removed, with all that they held", async () => {
    const running = [expect.stringMatching(/^pid \d+$/), expect.stringMatching(/^pid \d+$/)];
    await expect.poll(() => podsOf("echo"), { timeout: 10_000 }).toEqual(running);
    const pids = (await podsOf("echo")).map((name) => Number(name.replace("pid ", "")));
    expect(await act({ action: "remove_block", block_id: "echo" })).toMatchObject({ status: 200 });
    expect((await get("/allocations")).body.data).toEqual([]);
    expect(pids.filter(isRunning)).toEqual([]);
  });
});
