import { FAKE_NVIDIA_SMI_PATH } from "@berth/node-agent/testing";
import { scrapeFaults } from "@berth/service-kit/testing";
import { afterAll, beforeAll, expect, it } from "vitest";
import { berth, type Fleet, freePorts, startFleet, until } from "../support/fleet.ts";

let fleet: Fleet;
let metricsPort = 0;

beforeAll(async () => {
  metricsPort = (await freePorts()).http;
  const env = {
    BERTH_NVIDIA_SMI: FAKE_NVIDIA_SMI_PATH,
    BERTH_METRICS_PORT: String(metricsPort),
    FAKE_SMI_PROFILE: "h100",
  };
  fleet = await startFleet({ env, args: ["--node-id", "gpu-node"] });
});

afterAll(() => fleet.stop());

async function scrape(port: number): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  expect(response.headers.get("content-type")).toContain("text/plain; version=0.0.4");
  return response.text();
}

it("all three programs tell Prometheus what it expects, at their start and with GPUs and decisions", async () => {
  const programs = {
    "control-plane": { port: fleet.ports.http, tells: "berth_allocation_seconds_count 1" },
    "cluster-agent": { port: fleet.ports.cluster, tells: "berth_gpu_power_watts{" },
    "node-agent": { port: metricsPort, tells: "berth_gpu_power_watts{" },
  };
  for (const { port } of Object.values(programs))
    expect(scrapeFaults(await scrape(port))).toEqual([]);
  await berth(fleet, "policy", "publish", "examples/policies/least-loaded");
  const placed = await berth(fleet, "allocate", "--policy", "least-loaded:1.0.0-stable");
  expect(placed.code).toBe(0);
  for (const [program, { port, tells }] of Object.entries(programs)) {
    await until(async () => (await scrape(port)).includes(tells), {
      what: () => `${tells} of the ${program}`,
    });
    const text = await scrape(port);
    expect(scrapeFaults(text)).toEqual([]);
    expect(text).toContain(`berth_build_info{program="${program}",version="`);
    for (const name of ["cpu_seconds_total", "resident_memory_bytes", "uptime_seconds"]) {
      expect(text).toMatch(new RegExp(`^process_${name} [1-9\\d.e+-]+$`, "m"));
    }
  }
});
