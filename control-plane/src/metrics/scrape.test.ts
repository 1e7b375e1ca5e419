import { Pacer } from "@berth/service-kit";
import { scrapeFaults } from "@berth/service-kit/testing";
import { describe, expect, it } from "vitest";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { aGpu } from "../testing/documents.ts";
import { fleetOf, testNode, viewOf } from "../testing/fleet-views.ts";
import { ControlPlaneScrape } from "./scrape.ts";
import { AllocationCounter } from "./scrape-allocations.ts";

const gpus = [aGpu("0"), aGpu("1", { state: "allocated" })];
const live = viewOf("a", [testNode("n1", gpus), testNode("n2", gpus)]);
const lost = viewOf("b", [testNode("n1", gpus)], "unreachable");

function scrapeOf(views: () => readonly ClusterView[]) {
  const allocations = new AllocationCounter();
  const usage = {
    cpuUsage: () => ({ user: 0, system: 0 }),
    memoryUsage: { rss: () => 0 },
    uptime: () => 0,
  };
  const scrape = new ControlPlaneScrape({
    program: { program: "control-plane", version: "0.1.0", usage },
    clusters: { snapshot: async () => fleetOf(...views()) },
    orgId: "default_org",
    pace: new Pacer(),
    own: {
      allocations,
      sandbox: () => ({
        workers: [{ state: "idle" }, { state: "idle" }, { state: "busy" }],
        running: 1,
        queued: 2,
      }),
      agentLinks: () => 3,
      webSockets: () => 4,
      watchers: () => 5,
      historySeries: () => 6,
    },
  });
  const text = async () => {
    await scrape.refresh(new AbortController().signal);
    return (await scrape.registry.text()).split("\n");
  };
  return { allocations, text };
}

describe("ControlPlaneScrape", () => {
  it("tells the fleet as it is at each scrape", async () => {
    let views = [live, lost];
    const { text } = scrapeOf(() => views);
    expect(await text()).toEqual(
      expect.arrayContaining([
        'berth_clusters{health="live"} 1',
        'berth_clusters{health="unreachable"} 1',
        'berth_clusters{health="unknown"} 0',
        "berth_nodes 3",
        'berth_gpus{state="free"} 2',
        'berth_gpus{state="allocated"} 2',
        'berth_gpus{state="unhealthy"} 2',
        'berth_gpus{state="leased"} 0',
        'berth_cluster_up{cluster="a"} 1',
        'berth_cluster_up{cluster="b"} 0',
        'berth_cluster_gpus{cluster="a",state="allocated"} 2',
        'berth_cluster_gpus{cluster="b",state="unhealthy"} 2',
        "berth_scrape_clusters_dropped 0",
      ]),
    );
    views = [live];
    const lines = await text();
    expect(lines).toContain("berth_nodes 2");
    expect(lines.filter((line) => line.includes('cluster="b"'))).toEqual([]);
  });

  it("tells what the control-plane counts of itself", async () => {
    const { allocations, text } = scrapeOf(() => []);
    allocations.add({ outcome: "placed", timings_ms: { total: 6.5 } });
    allocations.add({ outcome: "placed", timings_ms: { total: 250 } });
    allocations.add({ outcome: "unschedulable", timings_ms: { total: 250.5 } });
    allocations.add({ outcome: "failed", timings_ms: { total: 31_000 } });
    expect(await text()).toEqual(
      expect.arrayContaining([
        "# TYPE berth_allocations_total counter",
        'berth_allocations_total{outcome="placed"} 2',
        'berth_allocations_total{outcome="unschedulable"} 1',
        'berth_allocations_total{outcome="failed"} 1',
        "# TYPE berth_allocation_seconds histogram",
        'berth_allocation_seconds_bucket{le="0.005"} 0',
        'berth_allocation_seconds_bucket{le="0.01"} 1',
        'berth_allocation_seconds_bucket{le="0.25"} 2',
        'berth_allocation_seconds_bucket{le="0.5"} 3',
        'berth_allocation_seconds_bucket{le="30"} 3',
        'berth_allocation_seconds_bucket{le="+Inf"} 4',
        "berth_allocation_seconds_sum 31.507",
        "berth_allocation_seconds_count 4",
        'berth_policy_workers{state="idle"} 2',
        'berth_policy_workers{state="busy"} 1',
        "berth_policy_evaluations_running 1",
        "berth_policy_evaluations_queued 2",
        "berth_agent_links 3",
        "berth_websocket_connections 4",
        "berth_watchers 5",
        "berth_history_series 6",
      ]),
    );
  });

  it("is what Prometheus expects, with and without anything to tell", async () => {
    for (const views of [[], [live, lost]]) {
      const { allocations, text } = scrapeOf(() => views);
      expect(scrapeFaults((await text()).join("\n"))).toEqual([]);
      allocations.add({ outcome: "placed", timings_ms: { total: 12 } });
      expect(scrapeFaults((await text()).join("\n"))).toEqual([]);
    }
  });

  it("tells the first 1,000 clusters one by one, and how many it leaves out", async () => {
    const many = Array.from({ length: 1_003 }, (_, index) => viewOf(`c${index}`, []));
    const lines = await scrapeOf(() => many).text();
    expect(lines.filter((line) => line.startsWith("berth_cluster_up{"))).toHaveLength(1_000);
    expect(lines).toContain("berth_scrape_clusters_dropped 3");
    expect(lines).toContain('berth_clusters{health="live"} 1003');
  });
});
