import { Quality } from "@berth/proto";
import { ScrapeRegistry } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import type { NodeView } from "../nodes/node-view.ts";
import {
  fingerprint,
  gpuSample,
  healthReport,
  hostSample,
  registerRequest,
} from "../testing/fixtures.ts";
import { registered, testRegistry } from "../testing/registry.ts";
import { clusterFamilies } from "./scrape-families.ts";
import { snapshots } from "./scrape-snapshot.ts";

const usage = {
  cpuUsage: () => ({ user: 0, system: 0 }),
  memoryUsage: { rss: () => 0 },
  uptime: () => 0,
};

async function scraped() {
  const registry = await testRegistry();
  const { nodes, clock } = registry;
  const text = new ScrapeRegistry({ program: "test", version: "0", usage });
  let views: () => NodeView[] = () => nodes.views();
  text.add(
    ...clusterFamilies(
      "c1",
      snapshots(() => views(), clock),
    ),
  );
  const request = registerRequest({ fingerprint: fingerprint({ gpus: ["GPU-1", "GPU-2"] }) });
  const registration = await registered(nodes, request);
  const lines = async () => {
    const all = (await text.text()).split("\n");
    return all.filter((line) => !line.startsWith("#") && line.startsWith("berth_"));
  };
  const multiply = (count: number) => {
    const [view] = nodes.views();
    if (view === undefined) throw new Error("no node");
    views = () => Array.from({ length: count }, (_none, at) => ({ ...view, id: `n${at}` }));
  };
  return { ...registry, registration, lines, multiply };
}

describe("the families of a cluster", () => {
  it("tell nodes and GPUs in base units", async () => {
    const { nodes, registration, lines, clock } = await scraped();
    const gpus = [
      gpuSample("GPU-1", { eccUncorrectedTotal: 3n }),
      gpuSample("GPU-2", { quality: Quality.UNAVAILABLE }),
    ];
    await nodes.report(registration, { host: hostSample(), gpus, health: healthReport({}) });
    clock.advance(500);
    expect(await lines()).toEqual(
      expect.arrayContaining([
        'berth_cluster_nodes{cluster="c1",status="healthy"} 1',
        'berth_cluster_nodes{cluster="c1",status="unhealthy"} 0',
        'berth_cluster_gpus{cluster="c1",state="free"} 0',
        'berth_cluster_gpus{cluster="c1",state="unhealthy"} 2',
        'berth_cluster_gpu_utilization_ratio{cluster="c1"} 0.5',
        'berth_scrape_series_dropped{cluster="c1",kind="node"} 0',
        'berth_node_up{cluster="c1",node="node-a"} 1',
        'berth_node_report_age_seconds{cluster="c1",node="node-a"} 0.5',
        'berth_node_cpu_utilization_ratio{cluster="c1",node="node-a"} 0.25',
        `berth_node_memory_used_bytes{cluster="c1",node="node-a"} ${16_000 * 1_048_576}`,
        `berth_node_memory_total_bytes{cluster="c1",node="node-a"} ${64_000 * 1_048_576}`,
        'berth_gpu_utilization_ratio{cluster="c1",node="node-a",gpu="0",uuid="GPU-1"} 0.5',
        `berth_gpu_memory_used_bytes{cluster="c1",node="node-a",gpu="0",uuid="GPU-1"} ${8_192 * 1_048_576}`,
        `berth_gpu_memory_total_bytes{cluster="c1",node="node-a",gpu="1",uuid="GPU-2"} ${81_920 * 1_048_576}`,
        'berth_gpu_temperature_celsius{cluster="c1",node="node-a",gpu="0",uuid="GPU-1"} 40',
        'berth_gpu_power_watts{cluster="c1",node="node-a",gpu="0",uuid="GPU-1"} 300',
        'berth_gpu_ecc_uncorrected_total{cluster="c1",node="node-a",gpu="0",uuid="GPU-1"} 3',
        'berth_gpu_state{cluster="c1",node="node-a",gpu="0",uuid="GPU-1",state="unhealthy"} 1',
      ]),
    );
  });

  it("end the series of values that are not of now", async () => {
    const { nodes, registration, lines, clock } = await scraped();
    await nodes.report(registration, { host: hostSample(), gpus: [gpuSample("GPU-1")] });
    clock.advance(15_001);
    const told = await lines();
    expect(told).toContain('berth_node_up{cluster="c1",node="node-a"} 0');
    const names = told.map((line) => line.slice(0, line.indexOf("{")));
    for (const gone of ["berth_gpu_utilization_ratio", "berth_node_cpu_utilization_ratio"]) {
      expect(names).not.toContain(gone);
    }
    expect(names.filter((name) => name === "berth_gpu_state")).toHaveLength(2);
  });

  it("tell at most 500 nodes and 2,000 GPUs one by one, and how many more there are", async () => {
    const { lines, multiply } = await scraped();
    multiply(1_200);
    const told = await lines();
    const count = (name: string) => told.filter((line) => line.startsWith(`${name}{`)).length;
    expect(count("berth_node_up")).toBe(500);
    expect(count("berth_gpu_state")).toBe(2_000);
    expect(told).toContain('berth_cluster_gpus{cluster="c1",state="free"} 2400');
    expect(told).toContain('berth_scrape_series_dropped{cluster="c1",kind="node"} 700');
    expect(told).toContain('berth_scrape_series_dropped{cluster="c1",kind="gpu"} 400');
  });
});
