import path from "node:path";
import process from "node:process";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Fleet, freePorts, launchFleet, until } from "../support/fleet.ts";

const SERVER = path.resolve(import.meta.dirname, "../../examples/blocks/echo/server.js");
const COMPONENT = { containerRegistryInfo: { command: [process.execPath, SERVER] } };
const WAIT = { timeout: 30_000, interval: 200 };
/** Two clusters of two nodes with two GPUs each. */
const GPUS = 8;

let fleet: Fleet;
let gateway: string;

beforeAll(async () => {
  const ports = await freePorts();
  const args = ["--sim", "2x2x2", "--sim-port", String(ports.cluster), "--no-cluster-ports"];
  fleet = await launchFleet({ ports, args });
  gateway = `http://127.0.0.1:${ports.http}`;
  await until(() => fleet.output().includes("Ctrl-C stops the fleet"), {
    limitMs: 80_000,
    what: () => `the simulated fleet to be ready; so far:\n${fleet.output()}`,
  });
  await vi.waitFor(async () => {
    for (const id of ["sim-0", "sim-1"]) {
      const probe = { ...block(`probe-${id}`, 2), minInstances: 0, clusters: [id] };
      expect((await ask("POST", "/blocks", probe)).status).toBe(201);
      await ask("DELETE", `/blocks/probe-${id}`);
    }
  }, WAIT);
});

afterAll(async () => {
  await removeAll();
  await fleet.stop();
});

interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look at any field of any answer
  readonly body: any;
}

async function ask(method: string, url: string, body?: object): Promise<Answer> {
  const headers = { "content-type": "application/json" };
  const given = body === undefined ? {} : { headers, body: JSON.stringify(body) };
  const response = await fetch(`${gateway}${url}`, { method, ...given });
  return { status: response.status, body: await response.json() };
}

const block = (id: string, gpus: number) => ({
  ...{ id, component: COMPONENT, resources: { gpus, cpuMillis: 10, memoryMiB: 16 } },
});

async function removeAll(): Promise<void> {
  const { body } = await ask("GET", "/blocks").catch(() => ({ body: { data: [] } }));
  const ids = body.data.map((one: { block_id: string }) => one.block_id);
  await Promise.all(ids.map((id: string) => ask("DELETE", `/blocks/${id}`)));
}

const expectNoLeases = () =>
  vi.waitFor(async () => expect((await ask("GET", "/leases")).body.data).toEqual([]), WAIT);

describe("a fleet of two clusters", () => {
  it("gives no GPU twice and leaves no lease behind when more callers come at once than it has GPUs", async () => {
    const ids = Array.from({ length: GPUS + 4 }, (_, index) => `caller-${index}`);
    const answers = await Promise.all(ids.map((id) => ask("POST", "/blocks", block(id, 1))));
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses).toEqual([...Array(GPUS).fill(201), ...Array(4).fill(409)]);
    for (const { status, body } of answers) {
      if (status === 409) expect(body).toMatchObject({ reason: "UNSCHEDULABLE" });
    }
    const { data } = (await ask("GET", "/allocations")).body;
    const gpus = data.flatMap((one: { gpus: readonly { uuid: string }[] }) => one.gpus);
    expect(new Set(gpus.map(({ uuid }: { uuid: string }) => uuid)).size).toBe(GPUS);
    expect(gpus).toHaveLength(GPUS);
    await expectNoLeases();
    await removeAll();
    expect((await ask("GET", "/allocations")).body.data).toEqual([]);
  });

  it("takes the next best cluster when a pre-check of the best one denies the block", async () => {
    const deny = `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        pass
    def eval(self, parameters, input_data, context):
        return {"allowed": False, "input_data": "not on this cluster"}
`;
    const policy = { name: "deny", version: "1", release_tag: "t" };
    await ask("POST", "/policy", { ...policy, files: { "code/function.py": deny } });
    const update = { "config.actionsPolicyMap.add_block": "deny:1-t" };
    const patched = await ask("PATCH", "/clusters/sim-0/cluster-actions/update-cluster", update);
    expect(patched).toMatchObject({ status: 200 });
    const denied = await ask("POST", "/blocks", { ...block("denied", 1), clusters: ["sim-0"] });
    expect(denied).toMatchObject({
      status: 409,
      body: {
        clusters: [{ cluster_id: "sim-0", step: "create", reason: "PRECHECK_DENIED" }],
      },
    });
    const whole = await ask("POST", "/blocks", block("whole", 2));
    expect(whole).toMatchObject({ status: 201, body: { data: { cluster_id: "sim-1" } } });
    await ask("DELETE", "/blocks/whole");
    await expectNoLeases();
  });
});
