import { FAKE_NVIDIA_SMI_PATH } from "@berth/node-agent/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { berth, type Fleet, startFleet, until } from "../support/fleet.ts";

const POLICY = "least-loaded:1.0.0-stable";

let fleet: Fleet;

beforeAll(async () => {
  const env = {
    BERTH_ASSUME_SECONDS: "300",
    BERTH_NVIDIA_SMI: FAKE_NVIDIA_SMI_PATH,
    FAKE_SMI_PROFILE: "h100",
  };
  fleet = await startFleet({ env, args: ["--node-id", "gpu-node"] });
  await berth(fleet, "policy", "publish", "examples/policies/least-loaded");
});

afterAll(() => fleet.stop());

async function json(port: number, route: string): Promise<Record<string, unknown>> {
  return JSON.parse(await (await fetch(`http://127.0.0.1:${port}${route}`)).text());
}

describe("a node with eight GPUs", () => {
  it("is announced with its GPUs", () => {
    expect(fleet.output()).toMatch(/gpu-node.*GPUs: 8 x NVIDIA H100/);
  });

  it("has slots, UUIDs and states in the cluster document, and live samples in the metrics", async () => {
    const document = await json(fleet.ports.http, "/clusters/local");
    expect(document).toMatchObject({ gpus: { count: 8 } });
    const slots = Array.from({ length: 8 }, (_none, slot) => ({ id: String(slot), state: "free" }));
    expect(document).toMatchObject({
      nodes: { nodeData: [{ id: "gpu-node", free_gpus: 8, gpus: { count: 8, gpus: slots } }] },
    });
    await until(
      async () => {
        const metrics = JSON.stringify(await json(fleet.ports.http, "/cluster/local"));
        return /"avgCudaUtilization":\d/.test(metrics) && /"quality":"measured"/.test(metrics);
      },
      { what: () => "GPU samples to arrive at the control-plane" },
    );
    const status = await json(fleet.ports.cluster, "/nodes_status");
    expect(status).toMatchObject({
      nodes_status: [
        {
          node_id: "gpu-node",
          gpus: [{ id: 0, memory: { total: 81_559 } }, {}, {}, {}, {}, {}, {}, {}],
        },
      ],
    });
  });

  it("gets work placed on distinct GPUs, and none when a model or a count does not fit", async () => {
    const place = (...flags: string[]) =>
      berth(fleet, "allocate", "--policy", POLICY, "-o", "json", ...flags);
    const placed = await place("--gpus", "4", "--input", 'gpu_model="h100"');
    expect(placed.code).toBe(0);
    const { cluster_id, node_id, gpus } = JSON.parse(placed.stdout);
    expect([cluster_id, node_id]).toEqual(["local", "gpu-node"]);
    expect(new Set(gpus).size).toBe(4);
    // The four that were just placed count as taken for some seconds.
    const refused = await place("--gpus", "9");
    expect(refused.code).toBe(3);
    expect(JSON.parse(refused.stdout).reasons).toEqual(["local/gpu-node: 4 of 9 GPUs fit"]);
    const other = await place("--gpus", "1", "--input", 'gpu_model="a100"');
    expect(JSON.parse(other.stdout)).toMatchObject({ unschedulable: true });
  });

  it("keeps reporting when its nvidia-smi child is killed", async () => {
    const smi = fleet.pids("fake-nvidia-smi")[0];
    expect(smi).toBeDefined();
    process.kill(smi ?? 0, "SIGKILL");
    await until(() => fleet.pids("fake-nvidia-smi").some((pid) => pid !== smi), {
      what: () => "another nvidia-smi child",
    });
    const { nodes } = await json(fleet.ports.cluster, "/healthy_nodes");
    expect(nodes).toEqual(["gpu-node"]);
  });
});
